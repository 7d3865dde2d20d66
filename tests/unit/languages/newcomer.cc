// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvvas.hpp used as its page allows, and as it does not: exceptions, scopes in scopes, a
 * VAS that is not there, handles that are moved, threads, containers of strings.
 */
#include <cstdio>
#include <future>
#include <memory>
#include <new>
#include <scoped_allocator>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <pvvas.hpp>

namespace {

using text = std::basic_string<char, std::char_traits<char>, pvvas::allocator<char>>;
using texts = std::vector<text, std::scoped_allocator_adaptor<pvvas::allocator<text>>>;
using numbers = std::set<int, std::less<>, pvvas::allocator<int>>;

constexpr std::size_t size = 4 << 20;

struct made {
	int vid, sid;
};

made make()
{
	made m{};

	m.vid = pvvas::check(vas_create(nullptr, 0600), "vas_create");
	m.sid = pvvas::check(seg_alloc(nullptr, reinterpret_cast<void *>(VAS_WINDOW_FIRST),
				       size, 0600), "seg_alloc");
	pvvas::check(seg_attach(m.vid, m.sid), "seg_attach");
	return m;
}

template <typename F>
void tells(const char *what, F &&f)
{
	try {
		f();
		std::printf("%s: nothing\n", what);
	} catch (const std::bad_alloc &) {
		std::printf("%s: bad_alloc\n", what);
	} catch (const std::system_error &e) {
		std::printf("%s: %s\n", what, e.what());
	}
	if (vas_current() != VAS_HOME)
		std::printf("%s: not at home\n", what);
}

volatile int &word()
{
	return *reinterpret_cast<int *>(VAS_WINDOW_FIRST + size - sizeof(int));
}

void scopes()
{
	auto first = pvvas::unique_vas::attach(make().vid);
	auto second = pvvas::unique_vas::attach(make().vid);
	pvvas::scoped_switch in(first);

	word() = 1;
	{
		pvvas::scoped_switch there(second);

		word() = 2;
	}
	std::printf("scopes: %d\n", word());
}

void moved()
{
	auto from = pvvas::unique_vas::attach(make().vid);
	auto to = std::move(from);

	tells("moved from", [&] { pvvas::scoped_switch in(from); });
	tells("moved to", [&] { pvvas::scoped_switch in(to); });
}

void strings()
{
	auto [vid, sid] = make();
	auto vas = pvvas::unique_vas::attach(vid);
	pvvas::scoped_switch in(vas);
	auto *all = pvvas::construct<texts>(sid, pvvas::allocator<text>(sid));
	auto shared = std::allocate_shared<int>(pvvas::allocator<int>(sid), 3);

	for (int i = 0; i < 1000; i++)
		all->emplace_back("long enough to be allocated by itself");
	std::printf("strings: %zu %d\n", all->size(),
		    reinterpret_cast<unsigned long>(all->back().data()) >= VAS_WINDOW_FIRST &&
		    reinterpret_cast<unsigned long>(shared.get()) >= VAS_WINDOW_FIRST);
	pvvas::destroy(sid, all);
}

void threads()
{
	auto [vid, sid] = make();

	pvvas::check(seg_ctl(sid, SEG_CTL_LOCK_ON), "seg_ctl");

	auto vas = pvvas::unique_vas::attach(vid);
	std::vector<std::future<void>> all;
	{
		pvvas::scoped_switch in(vas);

		pvvas::set_root(sid, pvvas::construct<numbers>(sid, pvvas::allocator<int>(sid)));
	}
	for (int t = 0; t < 4; t++)
		all.push_back(std::async(std::launch::async, [&vas, id = sid, t] {
			for (int i = 0; i < 100; i++) {
				pvvas::scoped_switch in(vas);

				pvvas::root<numbers>(id)->insert(1000 * t + i);
			}
		}));
	for (auto &one : all)
		one.get();
	pvvas::scoped_switch in(vas);
	std::printf("threads: %zu\n", pvvas::root<numbers>(sid)->size());
}

} // namespace

int main()
try {
	auto [vid, sid] = make();
	auto vas = pvvas::unique_vas::attach(vid);

	tells("no such name", [] { pvvas::unique_vas::attach("none"); });
	tells("no handle", [] { pvvas::scoped_switch in(12345); });
	tells("nothing attached", [] { pvvas::unique_vas v; pvvas::scoped_switch in(v); });
	tells("home", [] { pvvas::scoped_switch in(VAS_HOME); });
	tells("too large", [&vas, id = sid] {
		pvvas::scoped_switch in(vas);
		std::vector<long, pvvas::allocator<long>> v{pvvas::allocator<long>(id)};

		v.reserve(size);
	});
	scopes();
	moved();
	strings();
	threads();
	return 0;
} catch (const std::exception &e) {
	std::printf("%s\n", e.what());
	return 1;
}
