// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where an attachment parts from its VAS: once a process attaches a segment to a handle,
 * that has a space of its own, which begins with what the VAS has.  pvvas_lock is held
 * throughout.
 */
#include "ept.h"

/* Links that are shown in one go, with the lock held. */
#define PVVAS_PART_AT_ONCE	32

/* What is linked to the VAS from att->parted on, as far as it goes; -EAGAIN: more. */
static int pvvas_att_part_some(struct pvvas_att *att)
{
	struct pvvas_link *link = pvvas_link_behind(&att->vas->links,
						    att->parted);
	u32 n = PVVAS_PART_AT_ONCE;
	int ret = 0;

	for (; link && n--; link = pvvas_links_next(link)) {
		/* Linked since, in place of another one: it is there. */
		if (link->seg->start >= att->parted)
			ret = pvvas_space_attach(att->space, link->seg->tree,
						 link->prot & att->rights);
		/* Another segment is about to grow into this place: try later. */
		if (ret == -EEXIST)
			ret = -EINPROGRESS;
		if (ret)
			return ret;
		att->parted = link->seg->end;
	}
	return link ? -EAGAIN : 0;
}

static int pvvas_att_part_begin(struct pvvas_att *att)
{
	att->space = pvvas_space_new(PVVAS_GFP_LOCKED);
	if (!att->space)
		return -ENOMEM;
	return xa_err(xa_store(&att->vas->parted, att->serial, att,
			       PVVAS_GFP_LOCKED | __GFP_ACCOUNT));
}

/* Its space goes; no view has it. */
static void pvvas_att_unpart(struct pvvas_att *att)
{
	xa_erase(&att->vas->parted, att->serial);
	pvvas_space_bury(att->space);
	att->space = NULL;
	att->parted = 0;
}

/*
 * A space of the attachment's own, which begins with what the VAS has.  That goes
 * through all segments of the VAS, so it is done in pieces: -EAGAIN: others may have
 * the lock now, and the caller comes again, if the attachment is there still.  What is
 * linked or unlinked meanwhile below att->parted link and unlink show and hide
 * themselves (vas.c); the view has the space only at the end.
 */
int pvvas_att_part(struct pvvas_att *att)
{
	int ret = att->space ? 0 : pvvas_att_part_begin(att);

	if (!ret)
		ret = pvvas_att_part_some(att);
	if (ret) {
		if (ret != -EAGAIN && att->space)
			pvvas_att_unpart(att);
		return ret;
	}
	att->parted = U64_MAX;
	pvvas_view_change(att->view, att->space, PVVAS_RW);
	return 0;
}

/* Has the attachment a space of its own, and in that what the VAS has at this address? */
bool pvvas_att_parted(const struct pvvas_att *att, u64 address)
{
	return att->space && address < att->parted;
}
