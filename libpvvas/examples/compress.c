// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A pager that compresses: of a segment only a few pages are in memory, all others are
 * kept compressed until they are needed again.
 *
 * An access to a page that is not there calls the pager, in the thread that made it
 * (seg_pager(), seg_trap()).  The page that came first goes out: it is protected,
 * compressed, and discarded.  Then the wanted one is decompressed and filled in.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <pvvas.h>
#include <zlib.h>

#define PAGE		4096UL
#define NR		512UL
#define NR_RESIDENT	32UL
#define HERE		((char *)VAS_WINDOW_FIRST)

static struct {
	unsigned char *data;		/* NULL: zeroes */
	size_t length;
} stored[NR];

static struct {
	int sid;
	size_t resident[NR_RESIDENT];	/* numbers of pages, a ring */
	size_t next, count;
	size_t bytes;			/* in stored[] */
	size_t ins, outs;
	z_stream pack, unpack;
} pager;

/* The trap is a signal handler: it compresses with what start() has allocated. */
static int page_out(size_t nr)
{
	static unsigned char out[2 * PAGE];
	char *page = HERE + nr * PAGE;
	unsigned char *data;
	int err;

	/* from here on other threads would wait in the trap, and lose no write */
	err = seg_prot1(pager.sid, page, PROT_READ);
	if (err)
		return err;
	deflateReset(&pager.pack);
	pager.pack.next_in = (unsigned char *)page;
	pager.pack.avail_in = PAGE;
	pager.pack.next_out = out;
	pager.pack.avail_out = sizeof(out);
	if (deflate(&pager.pack, Z_FINISH) != Z_STREAM_END)
		return -1;
	data = realloc(stored[nr].data, pager.pack.total_out);
	if (!data)
		return -1;
	memcpy(data, out, pager.pack.total_out);
	pager.bytes += pager.pack.total_out - stored[nr].length;
	stored[nr].data = data;
	stored[nr].length = pager.pack.total_out;
	pager.outs++;
	err = seg_discard(pager.sid, page, PAGE);
	return err ? err : seg_unprot(pager.sid, page);
}

static int page_in(size_t nr)
{
	static unsigned char page[PAGE];

	memset(page, 0, sizeof(page));
	if (stored[nr].data) {
		inflateReset(&pager.unpack);
		pager.unpack.next_in = stored[nr].data;
		pager.unpack.avail_in = (unsigned int)stored[nr].length;
		pager.unpack.next_out = page;
		pager.unpack.avail_out = PAGE;
		if (inflate(&pager.unpack, Z_FINISH) != Z_STREAM_END)
			return -1;
	}
	pager.ins++;
	return seg_fill(pager.sid, HERE + nr * PAGE, page, PAGE) == 1 ? 0 : -1;
}

static int trap(const struct seg_fault *fault, void *arg)
{
	size_t nr = (size_t)((char *)fault->addr - HERE) / PAGE;
	size_t *slot = &pager.resident[pager.next];

	(void)arg;
	if (!fault->missing)
		return SEG_TRAP_PASS;
	if (pager.count == NR_RESIDENT && page_out(*slot))
		return SEG_TRAP_PASS;
	if (page_in(nr))
		return SEG_TRAP_PASS;
	*slot = nr;
	pager.next = (pager.next + 1) % NR_RESIDENT;
	if (pager.count < NR_RESIDENT)
		pager.count++;
	return SEG_TRAP_RESUME;
}

static int start(int sid)
{
	int err;

	pager.sid = sid;
	if (deflateInit(&pager.pack, Z_BEST_SPEED) || inflateInit(&pager.unpack))
		return -1;
	err = seg_pager(sid, 1);
	return err ? err : seg_trap(sid, trap, NULL);
}

/* What the program keeps there: a table, which it writes and then looks through twice. */
static int run(int sid)
{
	struct seg_stat stat = { .size = sizeof(stat) };
	size_t i, round, n = NR * PAGE / sizeof(unsigned int);
	unsigned int *table = (unsigned int *)HERE;
	int err;

	for (i = 0; i < n; i++)
		table[i] = (unsigned int)i / 7;
	for (round = 0; round < 2; round++)
		for (i = 0; i < n; i++) {
			if (table[i] != (unsigned int)i / 7 + round)
				return 1;
			table[i]++;
		}
	err = seg_ctl(sid, SEG_CTL_STAT, &stat);
	if (err)
		return err;
	printf("%lu pages: %lu in memory, the others in a %s of their size\n",
	       NR, stat.resident / PAGE,
	       pager.bytes < NR * PAGE / 4 ? "quarter" : "larger part");
	printf("%zu in, %zu out\n", pager.ins, pager.outs);
	return stat.resident != NR_RESIDENT * PAGE ||
	       pager.ins != 3 * NR || pager.outs != 3 * NR - NR_RESIDENT;
}

int main(void)
{
	struct seg_options small = { .size = sizeof(small), .flags = SEG_SMALL };
	int sid = seg_alloc_with(NULL, HERE, NR * PAGE, 0600, &small);
	int vid = vas_create(NULL, 0600), vh, err;

	err = sid < 0 ? sid : seg_attach(vid, sid);
	vh = err ? err : vas_attach(vid);
	err = vh < 0 ? vh : vas_switch(vh);
	if (!err)
		err = start(sid);
	if (!err)
		err = run(sid);
	if (err < 0)
		fprintf(stderr, "compress: %s\n", strerror(-err));
	vas_switch(VAS_HOME);
	return err ? 1 : 0;
}
