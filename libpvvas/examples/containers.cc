// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Standard containers in a segment: which words there were, and in which lines.
 * Each process counts on where the one before it stopped.
 *
 *   containers add word ...       one line
 *   containers show
 *   containers delete
 *
 * The segment is lockable, so that one process at a time is in the VAS.
 */
#include <cstdio>
#include <cstring>
#include <map>
#include <scoped_allocator>
#include <string>
#include <vector>

#include <pvvas.hpp>

namespace {

constexpr char name[] = "containers";
constexpr std::size_t size = 1UL << 30;

template <typename T>
using in_segment = std::scoped_allocator_adaptor<pvvas::allocator<T>>;
using word = std::basic_string<char, std::char_traits<char>,
			       pvvas::allocator<char>>;
using lines = std::vector<int, pvvas::allocator<int>>;
using index = std::map<word, lines, std::less<>,
		       in_segment<std::pair<const word, lines>>>;

struct book {
	explicit book(int sid) : words(index::allocator_type(sid)) {}

	index words;
	int lines = 0;
};

void make()
{
	int vid = pvvas::check(vas_create(nullptr, 0600), "vas_create");
	int sid = pvvas::check(seg_alloc(name, nullptr, size, 0600),
			       "seg_alloc");

	pvvas::check(seg_ctl(sid, SEG_CTL_LOCK_ON), "seg_ctl");
	pvvas::check(seg_attach(vid, sid), "seg_attach");
	pvvas::check(vas_publish(vid, name), "vas_publish");
}

void add(book &b, int sid, char **first, char **last)
{
	b.lines++;
	for (; first != last; first++)
		b.words.try_emplace(word(*first, pvvas::allocator<char>(sid)))
			.first->second.push_back(b.lines);
}

void show(const book &b)
{
	for (const auto &[text, where] : b.words) {
		std::printf("%s:", text.c_str());
		for (int line : where)
			std::printf(" %d", line);
		std::printf("\n");
	}
}

int run(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!std::strcmp(what, "delete")) {
		pvvas::check(vas_delete(vas_find(name)), "vas_delete");
		pvvas::check(seg_delete(seg_find(name)), "seg_delete");
		return 0;
	}
	if (std::strcmp(what, "add") && std::strcmp(what, "show")) {
		std::fputs("usage: containers add word ... | show | delete\n",
			   stderr);
		return 2;
	}
	if (vas_find(name) == -ENOENT)
		make();

	auto vas = pvvas::unique_vas::attach(name);
	int sid = pvvas::check(seg_find(name), "seg_find");
	pvvas::scoped_switch in(vas);

	if (in.owner_died()) {
		std::fputs("containers: a process died in the middle of a change: delete\n",
			   stderr);
		return 1;
	}
	if (!pvvas::root<book>(sid))
		pvvas::set_root(sid, pvvas::construct<book>(sid, sid));

	book &b = *pvvas::root<book>(sid);

	if (!std::strcmp(what, "add"))
		add(b, sid, argv + 2, argv + argc);
	else
		show(b);
	return 0;
}

} /* namespace */

int main(int argc, char **argv)
{
	try {
		return run(argc, argv);
	} catch (const std::exception &e) {
		std::fprintf(stderr, "containers: %s\n", e.what());
		return 1;
	}
}
