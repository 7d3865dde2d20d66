/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libpvvas for C++ (17 and later): what an address space or a switch needs to be
 * undone comes with its scope, and standard containers live in segments.
 *
 * All of it is in this header.  What fails throws std::system_error with the
 * errno value, or std::bad_alloc.  pvvas.hpp(3) is the manual page.
 */
#ifndef PVVAS_HPP
#define PVVAS_HPP

#include <cerrno>
#include <cstddef>
#include <limits>
#include <memory>
#include <new>
#include <system_error>
#include <utility>

#include <pvvas.h>

namespace pvvas {

/** check - @result, or an exception if it is a negative error number */
inline int check(int result, const char *what)
{
	if (result < 0)
		throw std::system_error(-result, std::generic_category(), what);
	return result;
}

/**
 * unique_vas - an attachment, which ends with its owner
 *
 * Like std::unique_ptr it can be moved and not copied.  The destructor calls
 * vas_detach(), which does nothing while a thread is in the VAS.
 */
class unique_vas {
public:
	unique_vas() noexcept = default;
	/* own a handle of vas_attach() */
	explicit unique_vas(int handle) noexcept : vh(handle) {}
	unique_vas(unique_vas &&other) noexcept : vh(other.release()) {}
	unique_vas &operator=(unique_vas &&other) noexcept
	{
		if (this != &other)
			reset(other.release());
		return *this;
	}
	~unique_vas() { reset(); }

	/* attach a VAS by its id, or by its name */
	static unique_vas attach(int vid)
	{
		return unique_vas(check(vas_attach(vid), "vas_attach"));
	}
	static unique_vas attach(const char *name)
	{
		return attach(check(vas_find(name), "vas_find"));
	}

	int get() const noexcept { return vh; }
	explicit operator bool() const noexcept { return vh != VAS_HOME; }
	int release() noexcept { return std::exchange(vh, VAS_HOME); }
	void reset(int other = VAS_HOME) noexcept
	{
		int old = std::exchange(vh, other);

		if (old != VAS_HOME)
			vas_detach(old);
	}

private:
	int vh = VAS_HOME;
};

/**
 * scoped_switch - the thread is in a VAS until the end of the scope
 *
 * Then it goes back to where it was, also if an exception ends the scope.
 */
class [[nodiscard]] scoped_switch {
public:
	explicit scoped_switch(int vh) : before(vas_current())
	{
		int err = vas_switch(vh);

		dead = err == -EOWNERDEAD;
		if (!dead)
			check(err, "vas_switch");
	}
	/* one that owns no handle is an error, and not VAS_HOME */
	explicit scoped_switch(const unique_vas &vas)
		: scoped_switch(vas.get() == VAS_HOME ? -1 : vas.get()) {}
	scoped_switch(const scoped_switch &) = delete;
	scoped_switch &operator=(const scoped_switch &) = delete;
	~scoped_switch() { vas_switch(before); }

	/* the last owner of a lock died in the middle: see SEG_CTL_CONSISTENT */
	bool owner_died() const noexcept { return dead; }

private:
	int before;
	bool dead = false;
};

/**
 * allocator - memory for containers from the heap of a segment
 *
 * Containers with one can themselves lie in the segment, and processes that
 * attach it share them.  As for seg_malloc(), the thread has to be in a VAS that
 * shows the segment writable.  What cannot be freed is reported to the handler of
 * seg_heap_on_misuse().
 */
template <typename T>
class allocator {
public:
	using value_type = T;

	explicit allocator(int id) noexcept : sid(id) {}
	template <typename U>
	allocator(const allocator<U> &other) noexcept : sid(other.segment()) {}

	T *allocate(std::size_t n)
	{
		void *p;

		if (n > std::numeric_limits<std::size_t>::max() / sizeof(T))
			throw std::bad_array_new_length();
		p = alignof(T) > 16 ?
			seg_memalign(sid, alignof(T), n * sizeof(T)) :
			seg_malloc(sid, n * sizeof(T));
		if (!p && errno == ENOMEM)
			throw std::bad_alloc();
		if (!p)
			check(-errno, "seg_malloc");
		return static_cast<T *>(p);
	}
	void deallocate(T *p, std::size_t) noexcept { seg_free(sid, p); }

	int segment() const noexcept { return sid; }

private:
	int sid;
};

template <typename T, typename U>
bool operator==(const allocator<T> &a, const allocator<U> &b) noexcept
{
	return a.segment() == b.segment();
}

template <typename T, typename U>
bool operator!=(const allocator<T> &a, const allocator<U> &b) noexcept
{
	return !(a == b);
}

/** construct - a new object in the heap of a segment */
template <typename T, typename... Args>
T *construct(int sid, Args &&...args)
{
	allocator<T> from(sid);
	T *p = from.allocate(1);

	try {
		return ::new (static_cast<void *>(p))
			T(std::forward<Args>(args)...);
	} catch (...) {
		from.deallocate(p, 1);
		throw;
	}
}

/** destroy - end an object of construct() */
template <typename T>
void destroy(int sid, T *p) noexcept
{
	if (!p)
		return;
	std::destroy_at(p);
	allocator<T>(sid).deallocate(p, 1);
}

/** root - what the word of seg_root() points to; nullptr at first */
template <typename T>
T *root(int sid)
{
	void **word = seg_root(sid);

	if (!word)
		check(-errno, "seg_root");
	return static_cast<T *>(__atomic_load_n(word, __ATOMIC_ACQUIRE));
}

/** set_root - let that word point to @p, which is complete */
template <typename T>
void set_root(int sid, T *p)
{
	void **word = seg_root(sid);

	if (!word)
		check(-errno, "seg_root");
	__atomic_store_n(word, static_cast<void *>(p), __ATOMIC_RELEASE);
}

} /* namespace pvvas */

#endif /* PVVAS_HPP */
