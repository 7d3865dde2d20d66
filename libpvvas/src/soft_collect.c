// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The software backend's objects, attachments and links: what goes with the last
 * user, and what the dead have left.
 *
 * An object counts its users, so that each call takes away no more than what it
 * has let go of itself.  A process that is killed with the lock may leave a count
 * that is too large, never one that is too small.  Now and then a process looks
 * at everything: which processes have died, and what the counts should be.
 */
#include <string.h>

#include "soft.h"

/* How long others may see what a process had that has died, in milliseconds. */
#define LOOK_AGAIN	1000

/* The answers of one look: few processes have many entries. */
#define ASKED	256

struct asked {
	uint64_t process[ASKED];
	bool lives[ASKED];
};

/* From a process of which nothing is known, nothing is taken away. */
static bool alive(uint64_t process, struct asked *asked)
{
	unsigned int i = process % ASKED;

	if (process == soft_self)
		return true;
	if (process != asked->process[i]) {
		asked->process[i] = process;
		asked->lives[i] = soft_alive(process) != 0;
	}
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

	if (!obj->kind || obj->named || obj->owner || obj->users)
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

	while (i < soft_reg->nr_atts && soft_reg->atts[i].handle)
		i++;
	soft_reg->first_att = i;
	if (i == SOFT_ATTS || soft_room(&soft_reg->atts[i], sizeof(struct soft_att)))
		return NULL;
	if (i >= soft_reg->nr_atts)
		soft_reg->nr_atts = i + 1;
	vas->users++;
	return &soft_reg->atts[i];
}

struct soft_link *soft_new_link(struct soft_object *seg)
{
	uint32_t i = soft_reg->first_link;

	while (i < soft_reg->nr_links && soft_reg->links[i].target)
		i++;
	soft_reg->first_link = i;
	if (i == SOFT_LINKS ||
	    soft_room(&soft_reg->links[i], sizeof(struct soft_link)))
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
		if (l->target & PVVAS_HANDLE ? !alive(l->process, asked) :
		    !soft_object(PVVAS_KIND_VAS, l->target))
			soft_free_link(l);
	}
}

/* Holds of dead threads on segments that are gone: no take buries them. */
static void collect_holds(void)
{
	struct soft_hold *h;

	for (h = soft_reg->holds; h < soft_reg->holds + soft_reg->nr_holds; h++)
		if (h->seg && !soft_object(PVVAS_KIND_SEG, h->seg) &&
		    !soft_alive(h->token))
			h->seg = 0;
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
	for (n = &soft_reg->nr_holds; *n; --*n)
		if (soft_reg->holds[*n - 1].seg)
			break;
}

static void collect(void)
{
	static struct asked asked;
	struct soft_object *o;
	struct soft_att *a;

	memset(&asked, 0, sizeof(asked));
	/* of a process that died while making it */
	for_each_object(o)
		if (!o->kind)
			soft_free(o);
	count_users();
	for_each_att(a)
		if (a->handle && !alive(a->process, &asked))
			soft_free_att(a);
	for_each_object(o) {
		if (o->owner && !alive(o->owner, &asked))
			o->owner = 0;
		soft_release(o);
	}
	collect_links(&asked);
	collect_holds();
	find_ends();
	/* a process that died between two stores may have left them too far on */
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
