// SPDX-License-Identifier: MIT
/*  vas.c -- alignment records in a virtual address space.

    A VAS holds records as they are in memory, bam1_t and its data, and
    pointers to them in order.  A process that attaches it needs no more than
    these pointers: nothing is read, decompressed or parsed.  */

#define HTS_BUILDING_LIBRARY // Enables HTSLIB_EXPORT, see htslib/hts_defs.h
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pvvas.h>

#include "htslib/bgzf.h"
#include "htslib/hts_log.h"
#include "htslib/sam.h"
#include "sam_internal.h"

#ifndef EFTYPE
#define EFTYPE ENOEXEC
#endif

#define VAS_MAGIC        "SAMVAS\1"
#define VAS_SEGMENT_SIZE (1UL << 30)
// A record that fits here is read where it stays
#define VAS_LEAST_ROOM   (1UL << 16)

// The start of each segment; the root's is followed by the rest
typedef struct {
    char magic[8];
    uint64_t is_root;
} vas_segment_t;

typedef struct {
    vas_segment_t segment;
    const bam1_t **records;
    uint64_t n;
    char *text;         // the header, as in a SAM file
    uint64_t l_text;
    char **target_name; // as in a BAM file, which may have no @SQ lines
    uint32_t *target_len;
    int32_t n_targets;
    int32_t has_offsets; // vas_record_t::after are those of a BAM file
    uint64_t first_offset;
} vas_root_t;

typedef struct {
    bam1_t b;
    uint64_t after;     // virtual offset behind the record in its BAM file
} vas_record_t;

typedef struct {
    int vid, vh;
    const vas_root_t *root;
    size_t next;
    // when writing: segments of its own, the free part of the last, the order
    char *name;
    vas_root_t *new_root;
    int *sids;
    size_t n_sids, m_sids;
    char *free, *end;
    const bam1_t **order;
    size_t n, m;
    int is_partial; // something failed: it gets no name
} vas_state_t;

static vas_state_t *state_of(htsFile *fp)
{
    return (vas_state_t *) fp->state;
}

static int failed(int err)
{
    errno = -err;
    return -1;
}

static int enter(const vas_state_t *v)
{
    int err = vas_current() == v->vh ? 0 : vas_switch(v->vh);
    return err < 0 ? failed(err) : 0;
}

// Native pointers are followed without a check, so their maker is trusted
static int is_trusted(uid_t owner, mode_t mode)
{
    return (owner == geteuid() || owner == 0) && !(mode & 022);
}

static int check_segment(int sid, void **base)
{
    struct seg_attr attr = { .size = sizeof(attr) };
    int err = seg_ctl(sid, SEG_CTL_GETATTR, &attr);
    if (err < 0) return err;
    *base = attr.base;
    return is_trusted(attr.uid, attr.mode) ? 0 : -EPERM;
}

// The segment of the VAS itself is younger than those that it shares
static int find_root(vas_state_t *v)
{
    struct vas_attr attr = { .size = sizeof(attr) };
    int err = vas_ctl(VAS_CTL_GETATTR, v->vid, &attr), sid;
    if (err < 0) return err;
    if (!is_trusted(attr.uid, attr.mode)) return -EPERM;
    for (sid = vas_next_seg(v->vid, 0, NULL); sid > 0;
         sid = vas_next_seg(v->vid, sid, NULL)) {
        void *base;
        if ((err = check_segment(sid, &base)) < 0) return err;
        const vas_root_t *root = base;
        if (memcmp(root->segment.magic, VAS_MAGIC, 8)) return -EFTYPE;
        if (root->segment.is_root) v->root = root;
    }
    if (sid != -ENOENT) return sid;
    return v->root ? 0 : -EFTYPE;
}

static int open_reader(vas_state_t *v, const char *name)
{
    int err = 0;
    v->vid = vas_find(name);
    if (v->vid < 0) return v->vid;
    v->vh = vas_attach(v->vid);
    if (v->vh < 0) return v->vh;
    if ((err = vas_switch(v->vh)) < 0) return err;
    return find_root(v);
}

static mode_t file_mode(void)
{
    mode_t mask = umask(0);
    umask(mask);
    return 0644 & ~mask;
}

static int add_segment(vas_state_t *v, size_t least)
{
    struct seg_options options = { .size = sizeof(options), .flags = SEG_HUGE };
    size_t size = sizeof(vas_root_t) + least;
    void *base;
    int sid, err;

    if (size < VAS_SEGMENT_SIZE) size = VAS_SEGMENT_SIZE;
    if (hts_resize(int, v->n_sids + 1, &v->m_sids, &v->sids, 0) < 0)
        return -ENOMEM;
    sid = seg_alloc_with(NULL, NULL, size, file_mode(), &options);
    if (sid < 0) return sid;
    if ((err = seg_attach(v->vh, sid)) < 0) return err;
    if ((err = seg_range(sid, &base, &size)) < 0) return err;
    v->sids[v->n_sids++] = sid;
    memcpy(base, VAS_MAGIC, 8);
    v->free = (char *) base + sizeof(vas_root_t);
    v->end = (char *) base + size;
    return 0;
}

static void *take(vas_state_t *v, size_t size)
{
    size = (size + 15) & ~(size_t) 15;
    if ((size_t) (v->end - v->free) < size) {
        int err = add_segment(v, size);
        if (err < 0) { errno = -err; return NULL; }
    }
    void *p = v->free;
    v->free += size;
    return p;
}

// Nobody sees it before it is complete: it gets its name in the end
static int open_writer(vas_state_t *v, const char *name)
{
    int err = vas_find(name);
    if (err != -ENOENT) return err < 0 ? err : -EEXIST;
    if ((v->name = strdup(name)) == NULL) return -ENOMEM;
    v->vid = vas_create(NULL, file_mode());
    if (v->vid < 0) return v->vid;
    v->vh = vas_attach(v->vid);
    if (v->vh < 0) return v->vh;
    if ((err = vas_switch(v->vh)) < 0) return err;
    if ((err = add_segment(v, 0)) < 0) return err;
    v->new_root = (vas_root_t *) (v->free - sizeof(vas_root_t));
    v->new_root->segment.is_root = 1;
    return 0;
}

static void free_state(vas_state_t *v)
{
    vas_switch(VAS_HOME);
    if (v->vh > 0) vas_detach(v->vh);
    free(v->name);
    free(v->sids);
    free(v->order);
    free(v);
}

htsFile *sam_vas_open(const char *name, const char *mode)
{
    htsFile *fp = calloc(1, sizeof(*fp));
    vas_state_t *v = calloc(1, sizeof(*v));
    int err = -ENOMEM;

    if (!fp || !v) goto fail;
    fp->fn = strdup(name);
    if (!fp->fn) goto fail;
    fp->state = v;
    fp->is_write = strchr(mode, 'w') != NULL;
    fp->format.category = sequence_data;
    fp->format.format = vas_format;
    fp->format.compression = no_compression;
    err = fp->is_write ? open_writer(v, name)
        : strchr(mode, 'r') ? open_reader(v, name) : -EINVAL;
    if (err == 0) return fp;
    if (err == -EPERM)
        hts_log_error("\"%s\" belongs to, or can be written by, another user", name);
 fail:
    if (v) free_state(v);
    if (fp) free(fp->fn);
    free(fp);
    errno = -err;
    return NULL;
}

// From now on others may read it, and no process write to it
static int publish(vas_state_t *v)
{
    vas_root_t *root = v->new_root;
    size_t i;
    int err;

    root->records = take(v, v->n * sizeof(*v->order));
    if (!root->records) return -1;
    if (v->n) memcpy(root->records, v->order, v->n * sizeof(*v->order));
    root->n = v->n;
    if ((err = vas_switch(VAS_HOME)) < 0) return failed(err);
    for (i = 0; i < v->n_sids; i++) {
        if ((err = seg_detach(v->vh, v->sids[i])) < 0) return failed(err);
        err = seg_attach_prot(v->vid, v->sids[i], PROT_READ);
        if (err < 0) return failed(err);
    }
    err = vas_publish(v->vid, v->name);
    return err < 0 ? failed(err) : 0;
}

int sam_vas_close(htsFile *fp)
{
    vas_state_t *v = state_of(fp);
    int ret = 0;
    if (fp->is_write && (enter(v) < 0 || v->is_partial || !v->new_root->text
                         || publish(v) < 0))
        ret = -1;
    int save = errno;
    free_state(v);
    errno = save;
    return ret;
}

int sam_vas_enter(htsFile *fp)
{
    return fp->format.format == vas_format ? enter(state_of(fp)) : 0;
}

static int copy_targets(sam_hdr_t *h, const vas_root_t *root)
{
    int32_t i;
    h->target_name = calloc(root->n_targets, sizeof(*h->target_name));
    h->target_len = calloc(root->n_targets, sizeof(*h->target_len));
    if (!h->target_name || !h->target_len) return -1;
    for (i = 0; i < root->n_targets; i++) {
        h->target_name[i] = strdup(root->target_name[i]);
        if (!h->target_name[i]) return -1;
        h->target_len[i] = root->target_len[i];
        h->n_targets = i + 1;
    }
    return 0;
}

sam_hdr_t *sam_vas_hdr_read(htsFile *fp)
{
    const vas_root_t *root = state_of(fp)->root;
    if (!root || enter(state_of(fp)) < 0) return NULL;
    sam_hdr_t *h = sam_hdr_parse(root->l_text, root->text);
    if (h && h->n_targets == 0 && root->n_targets > 0
        && copy_targets(h, root) < 0) {
        sam_hdr_destroy(h);
        h = NULL;
    }
    return h;
}

int sam_vas_hdr_write(htsFile *fp, const sam_hdr_t *h)
{
    vas_state_t *v = state_of(fp);
    const char *text = sam_hdr_str((sam_hdr_t *) h);
    size_t l_text = text ? strlen(text) : 0;
    vas_root_t *root = v->new_root;
    int32_t i;

    if (!root || enter(v) < 0) return -1;
    if (!(root->text = take(v, l_text + 1))
        || !(root->target_name = take(v, (h->n_targets + 1) * sizeof(char *)))
        || !(root->target_len = take(v, (h->n_targets + 1) * sizeof(uint32_t))))
        return -1;
    memcpy(root->text, text ? text : "", l_text + 1);
    root->l_text = l_text;
    for (i = 0; i < h->n_targets; i++) {
        size_t l = strlen(h->target_name[i]) + 1;
        if (!(root->target_name[i] = take(v, l))) return -1;
        memcpy(root->target_name[i], h->target_name[i], l);
        root->target_len[i] = h->target_len[i];
    }
    root->n_targets = h->n_targets;
    return 0;
}

int sam_vas_read1(htsFile *fp, bam1_t *b)
{
    vas_state_t *v = state_of(fp);
    if (!v->root || enter(v) < 0) return -2;
    if (v->next >= v->root->n) return -1;
    return bam_copy1(b, v->root->records[v->next++]) ? 0 : -2;
}

static int add_record(vas_state_t *v, const bam1_t *b)
{
    if (hts_resize(const bam1_t *, v->n + 1, &v->m, &v->order, 0) < 0) {
        v->is_partial = 1;
        return -1;
    }
    v->order[v->n++] = b;
    return 0;
}

// Where the data of a record are in the segment, behind it
static vas_record_t *place(vas_state_t *v, size_t least)
{
    size_t room = v->end - v->free;
    if (room < sizeof(vas_record_t) + least) {
        int err = add_segment(v, sizeof(vas_record_t) + least);
        if (err < 0) { errno = -err; return NULL; }
        room = v->end - v->free;
    }
    vas_record_t *r = (vas_record_t *) v->free;
    room -= sizeof(*r);
    memset(&r->b, 0, sizeof(r->b));
    r->b.data = (uint8_t *) (r + 1);
    r->b.m_data = room < INT32_MAX ? room : INT32_MAX;
    bam_set_mempolicy(&r->b, BAM_USER_OWNS_STRUCT | BAM_USER_OWNS_DATA);
    return r;
}

static int keep(vas_state_t *v, vas_record_t *r)
{
    r->b.m_data = r->b.l_data;
    v->free = (char *) r->b.data + (((size_t) r->b.l_data + 15) & ~(size_t) 15);
    if (v->free > v->end) v->free = v->end;
    return add_record(v, &r->b);
}

int sam_vas_write1(htsFile *fp, const bam1_t *b)
{
    vas_state_t *v = state_of(fp);
    vas_record_t *r;
    if (!v->new_root || enter(v) < 0) return -1;
    if (!(r = place(v, b->l_data))) {
        v->is_partial = 1;
        return -1;
    }
    memcpy(r->b.data, b->data, b->l_data);
    r->b.core = b->core;
    r->b.id = b->id;
    r->b.l_data = b->l_data;
    return keep(v, r);
}

int sam_vas_add(htsFile *fp, const bam1_t *b)
{
    vas_state_t *v = state_of(fp);
    return v->new_root ? add_record(v, b) : -1;
}

// What was too large for its place is elsewhere: it gets a larger one
static vas_record_t *moved(vas_state_t *v, vas_record_t *r)
{
    bam1_t old = r->b;
    if ((r = place(v, old.l_data)) != NULL) {
        uint8_t *data = r->b.data;
        memcpy(data, old.data, old.l_data);
        r->b.core = old.core;
        r->b.l_data = old.l_data;
    }
    free(old.data);
    return r;
}

int64_t sam_vas_load(htsFile *out, htsFile *in, sam_hdr_t *h)
{
    vas_state_t *v = state_of(out);
    int with_offsets = in->format.format == bam
        && in->format.compression == bgzf;
    int ret;

    if (out->format.format != vas_format || !v->new_root || enter(v) < 0)
        return -2;
    v->new_root->has_offsets = with_offsets;
    if (with_offsets) v->new_root->first_offset = bgzf_tell(in->fp.bgzf);
    v->is_partial = 1;
    for (;;) {
        vas_record_t *r = place(v, VAS_LEAST_ROOM);
        if (!r) return -2;
        ret = sam_read1(in, h, &r->b);
        if (!(bam_get_mempolicy(&r->b) & BAM_USER_OWNS_DATA)
            && !(r = moved(v, r)))
            return -2;
        if (ret < 0) break;
        if (with_offsets) r->after = bgzf_tell(in->fp.bgzf);
        if (keep(v, r) < 0) return -2;
    }
    if (ret < -1) return ret;
    v->is_partial = 0;
    return v->n;
}

const bam1_t *const *sam_vas_records(htsFile *fp, size_t *n)
{
    vas_state_t *v = state_of(fp);
    if (fp->format.format != vas_format || fp->filter || !v->root
        || enter(v) < 0)
        return NULL;
    *n = v->root->n;
    return v->root->records;
}

int sam_vas_share(htsFile *out, htsFile *in)
{
    vas_state_t *to = state_of(out), *from = state_of(in);
    int sid, err;
    for (sid = vas_next_seg(from->vid, 0, NULL); sid > 0;
         sid = vas_next_seg(from->vid, sid, NULL))
        if ((err = seg_attach_prot(to->vid, sid, PROT_READ)) < 0)
            return failed(err);
    return sid == -ENOENT ? enter(to) : failed(sid);
}

int sam_vas_offsets(htsFile *fp, uint64_t *first)
{
    const vas_root_t *root = state_of(fp)->root;
    if (!root || !root->has_offsets) return failed(-ESPIPE);
    *first = root->first_offset;
    return 0;
}

uint64_t sam_vas_offset(const bam1_t *b)
{
    return ((const vas_record_t *) b)->after;
}
