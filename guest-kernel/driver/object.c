// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names, ids, owners and modes of VASes and segments.
 *
 * A name is unique among the VASes, or among the segments, of the machine.
 * Names and ids are under pvvas_lock, so that create, find and delete of one name
 * have one winner.
 */
#include <linux/cred.h>
#include <linux/hashtable.h>
#include <linux/module.h>
#include <linux/once.h>
#include <linux/siphash.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/user_namespace.h>
#include "pvvas_drv.h"

static DEFINE_HASHTABLE(pvvas_names, 12);
static DEFINE_XARRAY_ALLOC1(pvvas_vas_ids);
static DEFINE_XARRAY_ALLOC1(pvvas_seg_ids);
static u32 pvvas_next_id[PVVAS_KIND_SEG + 1];
static u64 pvvas_serial;

#define PVVAS_ID_LIMIT	XA_LIMIT(1, PVVAS_HANDLE - 1)

#ifdef PVVAS_INJECT
module_param_array_named(next_id, pvvas_next_id, uint, NULL, 0644);
MODULE_PARM_DESC(next_id, "for tests: where ids go on, by kind");
#endif

static struct xarray *pvvas_ids(u32 kind)
{
	return kind == PVVAS_KIND_VAS ? &pvvas_vas_ids : &pvvas_seg_ids;
}

/* By a secret: else a user could choose names that all come into one list. */
static u32 pvvas_name_key(u32 kind, const char *name)
{
	static siphash_key_t secret;

	get_random_once(&secret, sizeof(secret));
	return siphash(name, strlen(name), &secret) + kind;
}

/* Names are those of files, and can be printed as they are. */
static bool pvvas_name_is_valid(const char *name)
{
	const char *p;

	for (p = name; *p; p++)
		if (*p == '/' || (unsigned char)*p < ' ' || *p == '\177')
			return false;
	return *name && strcmp(name, ".") && strcmp(name, "..");
}

/*
 * A kfree()able copy; -EINVAL if nothing can have it, -ENAMETOOLONG, -EFAULT.  There
 * may be very many: the caller's cgroup pays.
 */
char *pvvas_name_from_user(u64 addr)
{
	char read[PVVAS_NAME_MAX + 1], *name;
	long length = strncpy_from_user(read, u64_to_user_ptr(addr), sizeof(read));

	if (length < 0)
		return ERR_PTR(length);
	if (length == sizeof(read))
		return ERR_PTR(-ENAMETOOLONG);
	if (!pvvas_name_is_valid(read))
		return ERR_PTR(-EINVAL);
	name = kmemdup(read, length + 1, GFP_KERNEL_ACCOUNT);
	return name ?: ERR_PTR(-ENOMEM);
}

static struct pvvas_object *pvvas_object_by_key(u32 kind, const char *name,
					       u32 key)
{
	struct pvvas_object *obj;

	hash_for_each_possible(pvvas_names, obj, hash, key)
		if (obj->kind == kind && !strcmp(obj->name, name))
			return obj;
	return NULL;
}

struct pvvas_object *pvvas_object_by_name(u32 kind, const char *name)
{
	return pvvas_object_by_key(kind, name, pvvas_name_key(kind, name));
}

struct pvvas_object *pvvas_object_by_id(u32 kind, u32 id)
{
	return xa_load(pvvas_ids(kind), id);
}

/* The first one with an id above @id, which becomes its id. */
struct pvvas_object *pvvas_object_after(u32 kind, unsigned long *id)
{
	return xa_find_after(pvvas_ids(kind), id, PVVAS_HANDLE, XA_PRESENT);
}

/* The caller owns the first reference.  Not under pvvas_lock. */
int pvvas_object_init(struct pvvas_object *obj, u32 kind, umode_t mode)
{
	struct pvvas_user *user;

	mutex_lock(&pvvas_lock);
	user = pvvas_quota_charge(PVVAS_QUOTA_OBJECTS);
	pvvas_unlock();
	if (IS_ERR(user))
		return PTR_ERR(user);
	obj->charged = user;
	/* Asking security modules takes long, and a VAS has no memory. */
	obj->free = kind == PVVAS_KIND_SEG && capable(CAP_SYS_RESOURCE);
	obj->ctime = ktime_get_real_seconds();
	obj->mtime = obj->ctime;
	obj->atime = obj->ctime;
	pvvas_expiry_init(obj);
	obj->kind = kind;
	obj->mode = mode;
	obj->uid = current_fsuid();
	obj->gid = current_fsgid();
	kref_init(&obj->ref);
	INIT_HLIST_NODE(&obj->hash);
	INIT_LIST_HEAD(&obj->owned);
	__module_get(THIS_MODULE);
	return 0;
}

/*
 * Give the object its id and, with @name, its name (which it then owns);
 * without one, @owner keeps it alive.  The caller's reference goes to the name
 * or the owner.
 *
 * An id is used again as late as possible, after all others of its kind.  What
 * has to tell an object from any later one goes by the serial number.
 */
int pvvas_object_publish(struct pvvas_object *obj, char *name,
			 struct pvvas_proc *owner)
{
	u32 id, key = name ? pvvas_name_key(obj->kind, name) : 0;
	int ret;

	if (name && pvvas_object_by_key(obj->kind, name, key))
		return -EEXIST;
	ret = xa_alloc_cyclic(pvvas_ids(obj->kind), &id, obj, PVVAS_ID_LIMIT,
			      &pvvas_next_id[obj->kind], GFP_KERNEL);
	if (ret < 0)
		return ret == -EBUSY ? -ENOSPC : ret;
	obj->id = id;
	obj->serial = ++pvvas_serial;
	obj->name = name;
	if (name)
		hash_add(pvvas_names, &obj->hash, key);
	else
		list_add_tail(&obj->owned, &owner->owned);
	return 0;
}

static void pvvas_object_free(struct kref *ref)
{
	struct pvvas_object *obj = container_of(ref, struct pvvas_object, ref);

	if (obj->id)
		xa_erase(pvvas_ids(obj->kind), obj->id);
	if (obj->kind == PVVAS_KIND_VAS)
		pvvas_vas_free(container_of(obj, struct pvvas_vas, obj));
	else
		pvvas_seg_free(container_of(obj, struct pvvas_seg, obj));
}

/* The last step of both: what pvvas_object_init() took. */
void pvvas_object_end(struct pvvas_object *obj)
{
	pvvas_quota_uncharge(obj->charged, PVVAS_QUOTA_OBJECTS);
	module_put(THIS_MODULE);
}

void pvvas_object_put(struct pvvas_object *obj)
{
	lockdep_assert_held(&pvvas_lock);
	kref_put(&obj->ref, pvvas_object_free);
}

/*
 * What the mode lets the caller do, with the meaning that the bits have for
 * files.  Also without the lock, and where sleeping is not allowed.
 */
u32 pvvas_object_mode(const struct pvvas_object *obj)
{
	u32 bits = READ_ONCE(obj->mode), rights = 0;

	if (uid_eq(READ_ONCE(obj->uid), current_fsuid()))
		bits >>= 6;
	else if (in_group_p(READ_ONCE(obj->gid)))
		bits >>= 3;
	if (bits & 4)
		rights |= PVVAS_READ;
	if (bits & 2)
		rights |= PVVAS_WRITE;
	return rights;
}

/* What the caller may do. */
u32 pvvas_object_rights(const struct pvvas_object *obj)
{
	u32 rights = pvvas_object_mode(obj);

	if (rights != (PVVAS_READ | PVVAS_WRITE) && capable(CAP_DAC_OVERRIDE))
		rights = PVVAS_READ | PVVAS_WRITE;
	return rights;
}

bool pvvas_object_is_owner(const struct pvvas_object *obj)
{
	return uid_eq(obj->uid, current_fsuid()) || capable(CAP_FOWNER);
}

int pvvas_object_find(struct pvvas_ioc_name *arg, u32 kind)
{
	struct pvvas_object *obj;
	char *name;
	int ret = 0;

	name = pvvas_name_from_user(arg->name);
	if (IS_ERR(name))
		return PTR_ERR(name);
	mutex_lock(&pvvas_lock);
	obj = pvvas_object_by_name(kind, name);
	if (!obj)
		ret = -ENOENT;
	else if (!pvvas_object_rights(obj))
		ret = -EACCES;
	else
		arg->id = obj->id;
	pvvas_unlock();
	kfree(name);
	return ret;
}

static bool pvvas_kind_ok(u32 kind)
{
	return kind == PVVAS_KIND_VAS || kind == PVVAS_KIND_SEG;
}

/* Something keeps it alive, even if it is unused. */
static bool pvvas_object_is_kept(const struct pvvas_object *obj)
{
	return obj->name || !list_empty(&obj->owned);
}

/*
 * An anonymous object gets its name, as linkat(2) gives one to a file of
 * O_TMPFILE: until then no other process finds it, and it goes with its creator.
 * That does not own it any more once it is off the list.
 */
static int pvvas_object_may_get(u32 kind, u32 id, const char *name,
				struct pvvas_object **found)
{
	struct pvvas_object *obj = pvvas_object_by_id(kind, id);

	if (!obj || !pvvas_object_is_kept(obj))
		return -ENOENT;
	if (!pvvas_object_is_owner(obj))
		return -EPERM;
	if (obj->name)
		return -EINVAL;
	if (pvvas_object_by_name(kind, name))
		return -EEXIST;
	*found = obj;
	return 0;
}

static int pvvas_object_set_name(u32 kind, u32 id, char *name,
				 struct pvvas_object **named)
{
	int ret = pvvas_object_may_get(kind, id, name, named);

	if (ret)
		return ret;
	(*named)->name = name;
	hash_add(pvvas_names, &(*named)->hash, pvvas_name_key(kind, name));
	(*named)->ctime = ktime_get_real_seconds();
	return 0;
}

int pvvas_object_name(struct pvvas_ioc_name *arg, u32 kind)
{
	struct pvvas_object *obj;
	char *name;
	int ret;

	name = pvvas_name_from_user(arg->name);
	if (IS_ERR(name))
		return PTR_ERR(name);
	mutex_lock(&pvvas_lock);
	ret = pvvas_object_set_name(kind, arg->id, name, &obj);
	if (!ret)
		list_del_init(&obj->owned);
	pvvas_unlock();
	if (ret)
		kfree(name);
	return ret;
}

/* One row of pvvas_publish_all(): its name, and then what it names. */
struct pvvas_naming {
	struct pvvas_publish_row row;
	char *name;
	struct pvvas_object *obj;
};

static int pvvas_namings_read(const struct pvvas_ioc_publish_all *arg,
			      struct pvvas_naming *all)
{
	struct pvvas_publish_row __user *rows = u64_to_user_ptr(arg->rows);
	struct pvvas_naming *n;
	u32 i;

	for (i = 0; i < arg->nr; i++) {
		n = &all[i];
		if (copy_from_user(&n->row, &rows[i], sizeof(n->row)))
			return -EFAULT;
		if (!pvvas_kind_ok(n->row.kind))
			return -EINVAL;
		n->name = pvvas_name_from_user(n->row.name);
		if (IS_ERR(n->name))
			return PTR_ERR(n->name);
		cond_resched();
	}
	return 0;
}

/* How many rows are looked at with the lock held. */
#define PVVAS_NAMINGS_AT_ONCE	64

/*
 * Is any row wrong?  All rows are one hold of the lock, so it is not taken for those
 * that cannot be set.
 */
static int pvvas_namings_check(const struct pvvas_ioc_publish_all *arg,
			       const struct pvvas_naming *all)
{
	struct pvvas_object *obj;
	u32 i = 0, end;
	int ret = 0;

	while (!ret && i < arg->nr) {
		end = min(arg->nr, i + PVVAS_NAMINGS_AT_ONCE);
		mutex_lock(&pvvas_lock);
		for (; i < end && !ret; i++)
			ret = pvvas_object_may_get(all[i].row.kind,
						   all[i].row.id, all[i].name,
						   &obj);
		pvvas_unlock();
		cond_resched();
	}
	return ret;
}

/* All rows or none, and no one else sees any in between. */
static int pvvas_namings_set(const struct pvvas_ioc_publish_all *arg,
			     struct pvvas_naming *all)
{
	int ret = 0;
	u32 i;

	mutex_lock(&pvvas_lock);
	for (i = 0; i < arg->nr && !ret; i++)
		ret = pvvas_object_set_name(all[i].row.kind, all[i].row.id,
					    all[i].name, &all[i].obj);
	for (i = 0; i < arg->nr && all[i].obj; i++) {
		if (ret) {
			hash_del(&all[i].obj->hash);
			all[i].obj->name = NULL;
		} else {
			list_del_init(&all[i].obj->owned);
			all[i].name = NULL;
		}
	}
	pvvas_unlock();
	return ret;
}

int pvvas_publish_all(struct pvvas_ioc_publish_all *arg)
{
	struct pvvas_naming *all;
	int ret;
	u32 i;

	if (!arg->nr || arg->nr > PVVAS_MAX_ROWS)
		return -EINVAL;
	all = kvcalloc(arg->nr, sizeof(*all), GFP_KERNEL_ACCOUNT);
	if (!all)
		return -ENOMEM;
	ret = pvvas_namings_read(arg, all) ?: pvvas_namings_check(arg, all) ?:
	      pvvas_namings_set(arg, all);
	for (i = 0; i < arg->nr; i++)
		if (!IS_ERR(all[i].name))
			kfree(all[i].name);
	kvfree(all);
	return ret;
}

/* Take away what keeps an unused object alive: its name, or its creator. */
void pvvas_object_drop(struct pvvas_object *obj)
{
	pvvas_expiry_end(obj);
	if (obj->name) {
		hash_del(&obj->hash);
		kfree(obj->name);
		obj->name = NULL;
	} else {
		list_del_init(&obj->owned);
	}
	pvvas_object_put(obj);
}

int pvvas_object_delete(struct pvvas_ioc_id *arg, u32 kind)
{
	struct pvvas_object *obj;
	int ret = 0;

	mutex_lock(&pvvas_lock);
	obj = pvvas_object_by_id(kind, arg->id);
	if (!obj || !pvvas_object_is_kept(obj))
		ret = -ENOENT;
	else if (!pvvas_object_is_owner(obj))
		ret = -EPERM;
	else
		pvvas_object_drop(obj);
	pvvas_unlock();
	return ret;
}

/* The process is gone: so are its anonymous objects that no other process uses. */
void pvvas_objects_disown(struct pvvas_proc *proc)
{
	struct pvvas_object *obj;

	do {
		mutex_lock(&pvvas_lock);
		obj = list_first_entry_or_null(&proc->owned,
					       struct pvvas_object, owned);
		if (obj)
			pvvas_object_drop(obj);
		pvvas_unlock();
		cond_resched();
	} while (obj);
}

static void pvvas_attr_fill(struct pvvas_ioc_attr *arg,
			    const struct pvvas_object *obj)
{
	arg->id = obj->id;
	arg->valid = 0;
	arg->mode = obj->mode;
	arg->uid = from_kuid_munged(current_user_ns(), obj->uid);
	arg->gid = from_kgid_munged(current_user_ns(), obj->gid);
	arg->users = obj->users;
	arg->base = 0;
	arg->length = 0;
	arg->resident = 0;
	arg->idle = pvvas_object_idle(obj);
	arg->expiry = obj->expiry;
	arg->reserved = 0;
	memset(arg->name, 0, sizeof(arg->name));
	if (obj->name)
		strscpy(arg->name, obj->name, sizeof(arg->name));
	if (obj->kind == PVVAS_KIND_SEG) {
		const struct pvvas_seg *seg =
			container_of(obj, struct pvvas_seg, obj);

		arg->base = seg->base;
		arg->length = seg->length;
		arg->resident = atomic64_read(&seg->memory->resident);
	}
}

/* Like stat(2), it needs no right to the object. */
int pvvas_getattr(struct pvvas_ioc_attr *arg)
{
	unsigned long id = arg->id;
	struct pvvas_object *obj;

	if (!pvvas_kind_ok(arg->kind) || arg->valid & ~PVVAS_ATTR_NEXT)
		return -EINVAL;
	mutex_lock(&pvvas_lock);
	if (arg->valid & PVVAS_ATTR_NEXT)
		obj = pvvas_object_after(arg->kind, &id);
	else
		obj = pvvas_object_by_id(arg->kind, id);
	if (obj)
		pvvas_attr_fill(arg, obj);
	pvvas_unlock();
	return obj ? 0 : -ENOENT;
}

/* The rules of chmod(2) and chown(2). */
static int pvvas_attr_check(const struct pvvas_object *obj,
			    const struct pvvas_ioc_attr *arg,
			    kuid_t uid, kgid_t gid)
{
	bool owner = pvvas_object_is_owner(obj);

	if (arg->valid & PVVAS_ATTR_MODE) {
		if (arg->mode & ~0777)
			return -EINVAL;
		if (!owner)
			return -EPERM;
	}
	if (arg->valid & PVVAS_ATTR_EXPIRY) {
		if (!owner)
			return -EPERM;
		/* deleted: it goes with its last user in any case */
		if (!pvvas_object_is_kept(obj))
			return -ENOENT;
	}
	if (arg->valid & PVVAS_ATTR_UID) {
		if (!uid_valid(uid))
			return -EINVAL;
		if (!(uid_eq(uid, obj->uid) && owner) && !capable(CAP_CHOWN))
			return -EPERM;
	}
	if (arg->valid & PVVAS_ATTR_GID) {
		if (!gid_valid(gid))
			return -EINVAL;
		if (!(uid_eq(obj->uid, current_fsuid()) && in_group_p(gid)) &&
		    !capable(CAP_CHOWN))
			return -EPERM;
	}
	return 0;
}

int pvvas_setattr(struct pvvas_ioc_attr *arg)
{
	kuid_t uid = make_kuid(current_user_ns(), arg->uid);
	kgid_t gid = make_kgid(current_user_ns(), arg->gid);
	struct pvvas_object *obj;
	int ret;

	if (!pvvas_kind_ok(arg->kind) || !arg->valid || arg->reserved ||
	    arg->valid & ~(PVVAS_ATTR_MODE | PVVAS_ATTR_UID | PVVAS_ATTR_GID |
			   PVVAS_ATTR_EXPIRY))
		return -EINVAL;
	mutex_lock(&pvvas_lock);
	obj = pvvas_object_by_id(arg->kind, arg->id);
	ret = obj ? pvvas_attr_check(obj, arg, uid, gid) : -ENOENT;
	if (!ret) {
		if (arg->valid & PVVAS_ATTR_MODE)
			obj->mode = arg->mode;
		if (arg->valid & PVVAS_ATTR_UID)
			obj->uid = uid;
		if (arg->valid & PVVAS_ATTR_GID)
			obj->gid = gid;
		if (arg->valid & PVVAS_ATTR_EXPIRY)
			pvvas_expiry_set(obj, arg->expiry);
		obj->ctime = ktime_get_real_seconds();
	}
	pvvas_unlock();
	return ret;
}
