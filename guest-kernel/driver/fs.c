// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control file system: `mount -t pvvas none /sys/fs/pvvas`.
 *
 *	vas/NAME, seg/NAME	the named objects, with owner, group and mode; to
 *				be listed, read (show.c), chmod'ed, chown'ed, removed
 *	processes		what each has attached, and the view of each thread
 *	usage			the quotas, and what is used of them
 *
 * It keeps nothing: an inode is made at each lookup from the object that has the
 * name then, and no dentry stays longer than it is used.  The VFS's own rules
 * for a sticky directory are those of PVVAS_IOC_*_DELETE.
 */
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/module.h>
#include <linux/namei.h>
#include <linux/slab.h>
#include "compat.h"
#include "pvvas_drv.h"

#define PVVAS_FS_MAGIC	0x70767661

/* Fixed nodes: their inode numbers, which no object has. */
enum {
	PVVAS_NODE_ROOT = 1,
	PVVAS_NODE_VAS,
	PVVAS_NODE_SEG,
	PVVAS_NODE_PROCS,
	PVVAS_NODE_USAGE,
};

static const struct pvvas_node {
	const char *name;
	umode_t mode;
} pvvas_nodes[] = {
	[PVVAS_NODE_ROOT] = { "", S_IFDIR | 0555 },
	[PVVAS_NODE_VAS] = { "vas", S_IFDIR | S_ISVTX | 0777 },
	[PVVAS_NODE_SEG] = { "seg", S_IFDIR | S_ISVTX | 0777 },
	[PVVAS_NODE_PROCS] = { "processes", S_IFREG | 0400 },
	[PVVAS_NODE_USAGE] = { "usage", S_IFREG | 0444 },
};

static u32 pvvas_ino_kind(const struct inode *inode)
{
	return inode->i_ino >> 32;
}

/* Of a directory: the kind of what is in it. */
static u32 pvvas_dir_kind(const struct inode *dir)
{
	return dir->i_ino == PVVAS_NODE_VAS ? PVVAS_KIND_VAS : PVVAS_KIND_SEG;
}

/* Not one that has got the id since. */
static struct pvvas_object *pvvas_inode_object(const struct inode *inode)
{
	struct pvvas_object *obj;

	obj = pvvas_object_by_id(pvvas_ino_kind(inode), (u32)inode->i_ino);
	return obj && obj->serial == (unsigned long)inode->i_private ? obj :
								       NULL;
}

/* pvvas_lock is held. */
static void pvvas_inode_refresh(struct inode *inode,
				const struct pvvas_object *obj)
{
	inode->i_mode = S_IFREG | obj->mode;
	inode->i_uid = obj->uid;
	inode->i_gid = obj->gid;
	pvvas_inode_times(inode, obj->atime, obj->mtime, obj->ctime);
	if (obj->kind == PVVAS_KIND_SEG) {
		const struct pvvas_seg *seg =
			container_of(obj, struct pvvas_seg, obj);

		i_size_write(inode, seg->length);
		inode->i_blocks = atomic64_read(&seg->memory->resident) >> 9;
	}
}

static int pvvas_fs_getattr(struct pvvas_idmap *idmap, const struct path *path,
			    struct kstat *stat, u32 mask, unsigned int flags)
{
	struct inode *inode = d_inode(path->dentry);
	struct pvvas_object *obj;

	mutex_lock(&pvvas_lock);
	obj = pvvas_inode_object(inode);
	if (obj)
		pvvas_inode_refresh(inode, obj);
	pvvas_unlock();
	pvvas_fillattr(idmap, mask, inode, stat);
	return 0;
}

static int pvvas_fs_setattr(struct pvvas_idmap *idmap, struct dentry *dentry,
			    struct iattr *attr)
{
	struct inode *inode = d_inode(dentry);
	struct pvvas_object *obj;
	int ret = -ENOENT;

	if (attr->ia_valid & ATTR_SIZE ||
	    (attr->ia_valid & ATTR_MODE && attr->ia_mode & 07000))
		return -EPERM;
	mutex_lock(&pvvas_lock);
	obj = pvvas_inode_object(inode);
	if (obj) {
		/* An open file's inode may be older than the last chown. */
		pvvas_inode_refresh(inode, obj);
		ret = setattr_prepare(idmap, dentry, attr);
	}
	if (!ret) {
		setattr_copy(idmap, inode, attr);
		obj->mode = inode->i_mode & 0777;
		obj->uid = inode->i_uid;
		obj->gid = inode->i_gid;
		obj->ctime = ktime_get_real_seconds();
	}
	pvvas_unlock();
	return ret;
}

static const struct inode_operations pvvas_object_iops = {
	.getattr	= pvvas_fs_getattr,
	.setattr	= pvvas_fs_setattr,
};

static int pvvas_object_seq(struct seq_file *m, void *unused)
{
	const struct inode *inode = m->private;
	struct pvvas_object *obj;

	mutex_lock(&pvvas_lock);
	obj = pvvas_inode_object(inode);
	if (obj) {
		/* The lock is not held throughout. */
		kref_get(&obj->ref);
		pvvas_show_object(m, obj);
		pvvas_object_put(obj);
	}
	pvvas_unlock();
	return obj ? 0 : -ENOENT;
}

static int pvvas_node_seq(struct seq_file *m, void *unused)
{
	const struct inode *inode = m->private;

	mutex_lock(&pvvas_lock);
	if (inode->i_ino == PVVAS_NODE_PROCS)
		pvvas_show_processes(m);
	else
		pvvas_quota_show(m);
	pvvas_unlock();
	return 0;
}

static int pvvas_fs_open(struct inode *inode, struct file *file)
{
	return single_open(file, pvvas_ino_kind(inode) ? pvvas_object_seq :
			   pvvas_node_seq, inode);
}

static const struct file_operations pvvas_file_fops = {
	.owner		= THIS_MODULE,
	.open		= pvvas_fs_open,
	.read		= seq_read,
	.llseek		= seq_lseek,
	.release	= single_release,
};

/* The object has this name still. */
static int pvvas_fs_valid(struct dentry *dentry)
{
	struct pvvas_object *obj;
	bool valid;

	mutex_lock(&pvvas_lock);
	obj = pvvas_inode_object(d_inode(dentry));
	valid = obj && obj->name && !strcmp(obj->name, dentry->d_name.name);
	if (valid)
		pvvas_inode_refresh(d_inode(dentry), obj);
	pvvas_unlock();
	return valid;
}

static int pvvas_d_revalidate(PVVAS_REVALIDATE_DIR struct dentry *dentry,
			      unsigned int flags)
{
	if (flags & LOOKUP_RCU)
		return -ECHILD;
	if (d_really_is_negative(dentry))
		return 0;
	return !pvvas_ino_kind(d_inode(dentry)) || pvvas_fs_valid(dentry);
}

static const struct dentry_operations pvvas_dops = {
	.d_revalidate	= pvvas_d_revalidate,
	.d_delete	= always_delete_dentry,
};

static struct inode *pvvas_fs_inode(struct super_block *sb, unsigned long ino)
{
	struct inode *inode = new_inode(sb);

	if (inode)
		inode->i_ino = ino;
	return inode;
}

static struct inode *pvvas_object_inode(struct inode *dir, const char *name)
{
	struct pvvas_object *obj;
	struct inode *inode;

	mutex_lock(&pvvas_lock);
	obj = pvvas_object_by_name(pvvas_dir_kind(dir), name);
	inode = obj ? pvvas_fs_inode(dir->i_sb, (u64)obj->kind << 32 | obj->id) :
		      ERR_PTR(-ENOENT);
	if (!IS_ERR_OR_NULL(inode)) {
		inode->i_private = (void *)(unsigned long)obj->serial;
		pvvas_inode_refresh(inode, obj);
	}
	pvvas_unlock();
	if (!IS_ERR_OR_NULL(inode)) {
		inode->i_op = &pvvas_object_iops;
		inode->i_fop = &pvvas_file_fops;
	}
	return inode ?: ERR_PTR(-ENOMEM);
}

static struct dentry *pvvas_object_lookup(struct inode *dir,
					  struct dentry *dentry,
					  unsigned int flags)
{
	struct inode *inode;

	if (dentry->d_name.len > PVVAS_NAME_MAX)
		return ERR_PTR(-ENAMETOOLONG);
	inode = pvvas_object_inode(dir, dentry->d_name.name);
	if (inode == ERR_PTR(-ENOENT))
		inode = NULL;
	return d_splice_alias(inode, dentry);
}

static int pvvas_fs_unlink(struct inode *dir, struct dentry *dentry)
{
	struct inode *inode = d_inode(dentry);
	struct pvvas_object *obj;
	int ret = -ENOENT;

	mutex_lock(&pvvas_lock);
	obj = pvvas_inode_object(inode);
	if (obj && obj->name) {
		pvvas_object_drop(obj);
		clear_nlink(inode);
		ret = 0;
	}
	pvvas_unlock();
	return ret;
}

static const struct inode_operations pvvas_dir_iops = {
	.lookup	= pvvas_object_lookup,
	.unlink	= pvvas_fs_unlink,
};

/* The next name from the position on; copied, since user memory may fault. */
static unsigned long pvvas_next_name(u32 kind, unsigned long id, char *name)
{
	struct pvvas_object *obj;

	mutex_lock(&pvvas_lock);
	do
		obj = pvvas_object_after(kind, &id);
	while (obj && !obj->name);
	if (obj)
		strscpy(name, obj->name, PVVAS_NAME_MAX + 1);
	pvvas_unlock();
	return obj ? id : 0;
}

static int pvvas_fs_iterate(struct file *file, struct dir_context *ctx)
{
	u32 kind = pvvas_dir_kind(file_inode(file));
	unsigned long id;
	char *name;

	if (!dir_emit_dots(file, ctx))
		return 0;
	name = kmalloc(PVVAS_NAME_MAX + 1, GFP_KERNEL);
	if (!name)
		return -ENOMEM;
	for (;;) {
		id = pvvas_next_name(kind, ctx->pos - 2, name);
		if (!id || !dir_emit(ctx, name, strlen(name),
				     (u64)kind << 32 | id, DT_REG))
			break;
		ctx->pos = id + 2;
	}
	kfree(name);
	return 0;
}

static const struct file_operations pvvas_dir_fops = {
	.owner		= THIS_MODULE,
	.read		= generic_read_dir,
	.iterate_shared	= pvvas_fs_iterate,
	.llseek		= generic_file_llseek,
};

static struct inode *pvvas_node_inode(struct super_block *sb, int node);

static struct dentry *pvvas_root_lookup(struct inode *dir,
					struct dentry *dentry,
					unsigned int flags)
{
	struct inode *inode = NULL;
	int i;

	for (i = PVVAS_NODE_VAS; i < ARRAY_SIZE(pvvas_nodes); i++)
		if (!strcmp(dentry->d_name.name, pvvas_nodes[i].name))
			inode = pvvas_node_inode(dir->i_sb, i) ?:
				ERR_PTR(-ENOMEM);
	return d_splice_alias(inode, dentry);
}

static int pvvas_root_iterate(struct file *file, struct dir_context *ctx)
{
	if (!dir_emit_dots(file, ctx))
		return 0;
	for (; ctx->pos < ARRAY_SIZE(pvvas_nodes); ctx->pos++) {
		const struct pvvas_node *node = &pvvas_nodes[ctx->pos];

		if (!dir_emit(ctx, node->name, strlen(node->name), ctx->pos,
			      fs_umode_to_dtype(node->mode)))
			break;
	}
	return 0;
}

static const struct inode_operations pvvas_root_iops = {
	.lookup	= pvvas_root_lookup,
};

static const struct file_operations pvvas_root_fops = {
	.owner		= THIS_MODULE,
	.read		= generic_read_dir,
	.iterate_shared	= pvvas_root_iterate,
	.llseek		= generic_file_llseek,
};

static struct inode *pvvas_node_inode(struct super_block *sb, int node)
{
	struct inode *inode = pvvas_fs_inode(sb, node);
	time64_t now = ktime_get_real_seconds();

	if (!inode)
		return NULL;
	inode->i_mode = pvvas_nodes[node].mode;
	pvvas_inode_times(inode, now, now, now);
	if (node == PVVAS_NODE_ROOT) {
		inode->i_op = &pvvas_root_iops;
		inode->i_fop = &pvvas_root_fops;
	} else if (S_ISDIR(inode->i_mode)) {
		inode->i_op = &pvvas_dir_iops;
		inode->i_fop = &pvvas_dir_fops;
	} else {
		inode->i_fop = &pvvas_file_fops;
	}
	if (S_ISDIR(inode->i_mode))
		set_nlink(inode, 2);
	return inode;
}

static const struct super_operations pvvas_sops = {
	.statfs		= simple_statfs,
	.drop_inode	= inode_just_drop,
};

static int pvvas_fill_super(struct super_block *sb, struct fs_context *fc)
{
	sb->s_magic = PVVAS_FS_MAGIC;
	sb->s_blocksize = PAGE_SIZE;
	sb->s_blocksize_bits = PAGE_SHIFT;
	sb->s_maxbytes = MAX_LFS_FILESIZE;
	sb->s_op = &pvvas_sops;
	set_default_d_op(sb, &pvvas_dops);
	sb->s_time_gran = NSEC_PER_SEC;
	sb->s_root = d_make_root(pvvas_node_inode(sb, PVVAS_NODE_ROOT));
	return sb->s_root ? 0 : -ENOMEM;
}

static int pvvas_get_tree(struct fs_context *fc)
{
	return get_tree_single(fc, pvvas_fill_super);
}

static const struct fs_context_operations pvvas_context_ops = {
	.get_tree	= pvvas_get_tree,
};

static int pvvas_init_fs_context(struct fs_context *fc)
{
	fc->ops = &pvvas_context_ops;
	return 0;
}

static struct file_system_type pvvas_fs_type = {
	.owner			= THIS_MODULE,
	.name			= "pvvas",
	.init_fs_context	= pvvas_init_fs_context,
	.kill_sb		= kill_anon_super,
};
MODULE_ALIAS_FS("pvvas");

int __init pvvas_fs_init(void)
{
	int ret;

	ret = sysfs_create_mount_point(fs_kobj, "pvvas");
	if (ret)
		return ret;
	ret = register_filesystem(&pvvas_fs_type);
	if (ret)
		sysfs_remove_mount_point(fs_kobj, "pvvas");
	return ret;
}

void pvvas_fs_exit(void)
{
	unregister_filesystem(&pvvas_fs_type);
	sysfs_remove_mount_point(fs_kobj, "pvvas");
}
