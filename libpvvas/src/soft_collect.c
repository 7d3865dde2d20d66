// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The software backend's objects, attachments and links: what goes with the last
 * user, and what the dead have left.
 *
 * An object counts its users, so that each call takes away no more than what it
 * has let go of itself.  A process that is killed with the lock may leave a count
 * that is too large, never one that is too small.  Now and then a process looks
 * at everything: who has died, and what the counts should be.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "soft.h"

/* How long others may see what a process had that has died, in milliseconds. */
#define LOOK_AGAIN	1000

/*
 * When the process started; 0 if there is none, or only what its parent has not
 * waited for.  (One that goes on after its first thread has ended has more
 * threads than that.)
 */
uint64_t soft_start_of(int32_t pid)
{
	unsigned long long start = 0;
	char path[32], text[1024], state, *p;
	long threads = 0;
	ssize_t n;
	int fd, i;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	/* fields 3, 20 and 22; the second may hold blanks, and ends with ')' */
	p = strrchr(text, ')');
	if (!p || sscanf(p + 1, " %c", &state) != 1)
		return 0;
	for (i = 2; p && i < 20; i++)
		p = strchr(p + 1, ' ');
	if (!p || sscanf(p, "%ld %*d %llu", &threads, &start) != 2)
		return 0;
	return (state == 'Z' || state == 'X') && threads <= 1 ? 0 : start;
}

bool soft_same_process(const struct soft_process *a,
		       const struct soft_process *b)
{
	return a->pid == b->pid && a->start == b->start;
}

/* The answers of one look: few processes have many entries. */
#define ASKED	256

struct asked {
	struct soft_process process[ASKED];
	bool lives[ASKED];
};

static bool alive(const struct soft_process *p, struct asked *asked)
{
	unsigned int i = (unsigned int)p->pid % ASKED;

	if (soft_same_process(p, &soft_self))
		return true;
	if (soft_same_process(p, &asked->process[i]))
		return asked->lives[i];
	asked->process[i] = *p;
	asked->lives[i] = (!kill(p->pid, 0) || errno != ESRCH) &&
			  soft_start_of(p->pid) == p->start;
	return asked->lives[i];
}

/*
 * Entries of the tables.
 */

/* Is it the first face of memory that has others? */
static bool has_faces(const struct soft_object *seg)
{
	const struct soft_object *o;

	if (!seg->faces)
		return false;
	for_each_object(o)
		if (o->kind == PVVAS_KIND_SEG && o->memory == seg->id)
			return true;
	return false;
}

static void free_links_of(uint32_t vas)
{
	struct soft_link *l;

	for_each_link(l)
		if (l->target == vas)
			soft_free_link(l);
}

void soft_release(struct soft_object *obj)
{
	uint32_t memory = obj->memory;

	if (!obj->kind || obj->named || obj->owner.pid || obj->users)
		return;
	if (obj->kind == PVVAS_KIND_VAS) {
		free_links_of(obj->id);
		soft_free(obj);
		return;
	}
	/* the first face goes last */
	if (!memory && has_faces(obj))
		return;
	soft_free(obj);
	obj = memory ? soft_object(PVVAS_KIND_SEG, memory) : NULL;
	if (obj)
		soft_release(obj);
}

/* The entry is gone: one user of the object less. */
static void unuse(uint32_t kind, uint32_t id)
{
	struct soft_object *o = soft_object(kind, id);

	if (!o)
		return;
	if (o->users)
		o->users--;
	soft_used(o);
	soft_release(o);
}

void soft_free_att(struct soft_att *att)
{
	uint32_t vas = att->vas;

	memset(att, 0, sizeof(*att));
	if (att < soft_reg->atts + soft_reg->first_att)
		soft_reg->first_att = (uint32_t)(att - soft_reg->atts);
	unuse(PVVAS_KIND_VAS, vas);
}

void soft_free_link(struct soft_link *link)
{
	uint32_t seg = link->seg;

	memset(link, 0, sizeof(*link));
	if (link < soft_reg->links + soft_reg->first_link)
		soft_reg->first_link = (uint32_t)(link - soft_reg->links);
	unuse(PVVAS_KIND_SEG, seg);
}

/* The user is counted first: see above. */
struct soft_att *soft_new_att(struct soft_object *vas)
{
	uint32_t i = soft_reg->first_att;

	while (i < SOFT_ATTS && soft_reg->atts[i].handle)
		i++;
	soft_reg->first_att = i;
	if (i == SOFT_ATTS)
		return NULL;
	if (i >= soft_reg->nr_atts)
		soft_reg->nr_atts = i + 1;
	vas->users++;
	return &soft_reg->atts[i];
}

struct soft_link *soft_new_link(struct soft_object *seg)
{
	uint32_t i = soft_reg->first_link;

	while (i < SOFT_LINKS && soft_reg->links[i].target)
		i++;
	soft_reg->first_link = i;
	if (i == SOFT_LINKS)
		return NULL;
	if (i >= soft_reg->nr_links)
		soft_reg->nr_links = i + 1;
	seg->users++;
	return &soft_reg->links[i];
}

/*
 * A look at everything.
 */

static void count_users(void)
{
	struct soft_object *o;
	const struct soft_att *a;
	const struct soft_link *l;

	for_each_object(o)
		o->users = 0;
	for_each_att(a) {
		o = a->handle ? soft_object(PVVAS_KIND_VAS, a->vas) : NULL;
		if (o)
			o->users++;
	}
	for_each_link(l) {
		o = l->target ? soft_object(PVVAS_KIND_SEG, l->seg) : NULL;
		if (o)
			o->users++;
	}
}

/* Of attachments that are gone, and of VASes that are. */
static void collect_links(struct asked *asked)
{
	struct soft_link *l;

	for_each_link(l) {
		if (!l->target)
			continue;
		if (l->target & PVVAS_HANDLE ? !alive(&l->process, asked) :
		    !soft_object(PVVAS_KIND_VAS, l->target))
			soft_free_link(l);
	}
}

/* Tables are gone through up to their last entry. */
static void find_ends(void)
{
	uint32_t *n;

	for (n = &soft_reg->nr_objects; *n; --*n)
		if (soft_reg->objects[*n - 1].kind)
			break;
	for (n = &soft_reg->nr_atts; *n; --*n)
		if (soft_reg->atts[*n - 1].handle)
			break;
	for (n = &soft_reg->nr_links; *n; --*n)
		if (soft_reg->links[*n - 1].target)
			break;
}

static void collect(void)
{
	struct asked asked = { 0 };
	struct soft_object *o;
	struct soft_att *a;

	/* of one who died before there was something in it */
	for_each_object(o)
		soft_reg->in_use[o - soft_reg->objects] = !!o->kind;
	count_users();
	for_each_att(a)
		if (a->handle && !alive(&a->process, &asked))
			soft_free_att(a);
	for_each_object(o) {
		if (o->owner.pid && !alive(&o->owner, &asked))
			o->owner.pid = 0;
		soft_release(o);
	}
	collect_links(&asked);
	find_ends();
	/* one who died between two stores may have left them too far on */
	soft_reg->first_att = 0;
	soft_reg->first_link = 0;
}

void soft_collect(void)
{
	soft_reg->collected = soft_now();
	do
		collect();
	while (soft_expire());
}

bool soft_collect_is_due(void)
{
	uint64_t now = soft_now();

	return now - soft_reg->collected >= LOOK_AGAIN ||
	       (soft_reg->next_expiry && now >= soft_reg->next_expiry);
}
