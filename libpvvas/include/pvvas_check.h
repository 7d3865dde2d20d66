/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checked pointers, for debugging: which VAS does a pointer belong to?
 *
 *	#define PVVAS_CHECK 1		(or -DPVVAS_CHECK)
 *	#include <pvvas_check.h>
 *
 * In the program a pointer into the window then carries, in its upper 16 bits,
 * the VAS that it was made in.  In segments pointers are plain, so programs with
 * and without checks share them.  Without PVVAS_CHECK all of this is nothing:
 * the macros are the plain accesses.  vas_checked(3) has the rules.
 */
#ifndef PVVAS_CHECK_H
#define PVVAS_CHECK_H

#include <pvvas.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What was wrong */
enum vas_misuse {
	VAS_MISUSE_ACCESS = 1,	/* used in a VAS that does not show what it means */
	VAS_MISUSE_STORE = 2,	/* stored into another VAS than its own */
	VAS_MISUSE_PRIVATE = 3,	/* this process's own memory, stored into a VAS */
};

/**
 * struct vas_misuse_info - one misuse
 * @what: enum vas_misuse
 * @made_in: index of the handle that the pointer was made in
 * @used_in: handle of the VAS that the thread is in
 * @address: the plain address
 * @file: source file, and @line, of the use
 */
struct vas_misuse_info {
	enum vas_misuse what;
	unsigned int made_in;
	int used_in;
	void *address;
	const char *file;
	int line;
};

typedef void vas_misuse_fn(const struct vas_misuse_info *info);

/**
 * vas_on_misuse - what checked accesses call when they find something
 *
 * It may return; the access is made then.  NULL: abort(), as is the case before
 * the first call.
 */
void vas_on_misuse(vas_misuse_fn *fn);

#define __PVVAS_TAG_SHIFT	48
#define __PVVAS_PLAIN		((1UL << __PVVAS_TAG_SHIFT) - 1)

/* Not inline: is a pointer with another VAS's tag all the same good here? */
void __pvvas_check(enum vas_misuse what, unsigned long p, const char *file,
		   int line);

static inline int __pvvas_in_window(unsigned long p)
{
	p &= __PVVAS_PLAIN;
	/* no window is larger; what the system maps itself lies far above */
	return p >= VAS_WINDOW_FIRST && p < 2 * VAS_WINDOW_BASE;
}

static inline unsigned long __pvvas_tag(const volatile void *p)
{
	unsigned long v = (unsigned long)p & __PVVAS_PLAIN;

	if (!__pvvas_in_window(v))
		return (unsigned long)p;
	return v | (unsigned long)(vas_current() & 0xffff) << __PVVAS_TAG_SHIFT;
}

static inline unsigned long __pvvas_use(const volatile void *q, const char *file,
					int line)
{
	unsigned long p = (unsigned long)q;

	if (__pvvas_in_window(p) &&
	    p >> __PVVAS_TAG_SHIFT != (unsigned long)(vas_current() & 0xffff))
		__pvvas_check(VAS_MISUSE_ACCESS, p, file, line);
	return __pvvas_in_window(p) ? p & __PVVAS_PLAIN : p;
}

/* What to put into @where: plain in segments, with its tag elsewhere. */
static inline unsigned long __pvvas_put(const volatile void *where,
					const volatile void *q,
					const char *file, int line)
{
	unsigned long p = (unsigned long)q;

	if (!__pvvas_in_window((unsigned long)where) || !p)
		return p;
	if (!__pvvas_in_window(p))
		__pvvas_check(VAS_MISUSE_PRIVATE, p, file, line);
	else if (p >> __PVVAS_TAG_SHIFT !=
		 (unsigned long)(vas_current() & 0xffff))
		__pvvas_check(VAS_MISUSE_STORE, p, file, line);
	return p & __PVVAS_PLAIN;
}

static inline unsigned long __pvvas_got(const volatile void *where,
					const volatile void *q)
{
	return __pvvas_in_window((unsigned long)where) ? __pvvas_tag(q) :
							 (unsigned long)q;
}

#ifdef __cplusplus
}
#endif

#ifdef PVVAS_CHECK

/* A plain pointer into the VAS that the thread is in, as one that knows it. */
#define vas_tagged(p) \
	((__typeof__(p))__pvvas_tag(p))

/* The plain pointer, for use here and now. */
#define vas_checked(p) \
	((__typeof__(p))__pvvas_use((p), __FILE__, __LINE__))

/* lvalue = p */
#define vas_set(lvalue, p) \
	((void)((lvalue) = (__typeof__(lvalue)) \
		__pvvas_put(&(lvalue), (p), __FILE__, __LINE__)))

/* the value of lvalue */
#define vas_get(lvalue) \
	((__typeof__(lvalue))__pvvas_got(&(lvalue), (lvalue)))

#else

#define vas_tagged(p)		(p)
#define vas_checked(p)		(p)
#define vas_set(lvalue, p)	((void)((lvalue) = (p)))
#define vas_get(lvalue)		(lvalue)

#endif /* PVVAS_CHECK */

#endif /* PVVAS_CHECK_H */
