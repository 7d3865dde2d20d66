// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A Lua state in a segment: each process carries on where the one before it stopped,
 * with its globals, tables, functions and coroutines.
 *
 *   lua-state 'x = 41'
 *   lua-state 'print(x + 1)'
 *   lua-state delete
 *
 * The state points to Lua's own C functions, and so only the program that made it
 * can use it (program.h).  The libraries io, os and package are left out: their files
 * and modules are a process's own.  Only one process at a time is in the VAS.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pvvas.h>

#include "program.h"

#define NAME	"lua-state"
#define SIZE	(1UL << 30)

struct session {
	struct program program;
	lua_State *lua;
};

static int fail(const char *what, int err)
{
	fprintf(stderr, "lua-state: %s: %s\n", what, strerror(-err));
	return 1;
}

static void *allocate(void *sid, void *ptr, size_t old, size_t size)
{
	(void)old;
	if (size)
		return seg_realloc((int)(intptr_t)sid, ptr, size);
	if (ptr)
		seg_free((int)(intptr_t)sid, ptr);
	return NULL;
}

static const luaL_Reg libraries[] = {
	{ LUA_GNAME, luaopen_base },
	{ LUA_COLIBNAME, luaopen_coroutine },
	{ LUA_TABLIBNAME, luaopen_table },
	{ LUA_STRLIBNAME, luaopen_string },
	{ LUA_MATHLIBNAME, luaopen_math },
	{ LUA_UTF8LIBNAME, luaopen_utf8 },
};

static int make(void)
{
	int vid = vas_create(NULL, 0600), sid, err;

	if (vid < 0)
		return vid;
	sid = seg_alloc(NAME, NULL, SIZE, 0600);
	err = sid < 0 ? sid : seg_ctl(sid, SEG_CTL_LOCK_ON);
	if (!err)
		err = seg_attach(vid, sid);
	if (!err)
		err = vas_publish(vid, NAME);
	return err ? err : vid;
}

/* Into the VAS and its lock; the first process makes it. */
static int enter(void)
{
	int vid = vas_find(NAME), vh;

	if (vid == -ENOENT)
		vid = make();
	vh = vid < 0 ? vid : vas_attach(vid);
	return vh < 0 ? vh : vas_switch(vh);
}

static int open_libraries(lua_State *lua)
{
	size_t i;

	for (i = 0; i < sizeof(libraries) / sizeof(*libraries); i++) {
		luaL_requiref(lua, libraries[i].name, libraries[i].func, 1);
		lua_pop(lua, 1);
	}
	return 0;
}

static int new_session(int sid, void **root)
{
	struct session *s = seg_malloc(sid, sizeof(*s));
	int err;

	if (!s)
		return -errno;
	err = program_self(&s->program);
	if (err)
		return err;
	s->lua = lua_newstate(allocate, (void *)(intptr_t)sid);
	if (!s->lua)
		return -ENOMEM;
	lua_pushcfunction(s->lua, open_libraries);
	if (lua_pcall(s->lua, 0, 0, 0))
		return -ENOMEM;
	*root = s;
	return 0;
}

static int run(lua_State *lua, const char *code)
{
	int err = luaL_loadbuffer(lua, code, strlen(code), "=command");

	if (!err)
		err = lua_pcall(lua, 0, 0, 0);
	if (err) {
		fprintf(stderr, "lua-state: %s\n", lua_tostring(lua, -1));
		lua_pop(lua, 1);
	}
	return err != 0;
}

static int delete(void)
{
	int vid = vas_find(NAME), sid = seg_find(NAME), err;

	err = vid < 0 ? vid : vas_delete(vid);
	return err ? err : sid < 0 ? sid : seg_delete(sid);
}

int main(int argc, char **argv)
{
	void **root;
	int err, sid;

	if (argc != 2) {
		fputs("usage: lua-state CODE | delete\n", stderr);
		return 2;
	}
	if (!strcmp(argv[1], "delete")) {
		err = delete();
		return err ? fail("delete", err) : 0;
	}
	err = enter();
	if (err == -EOWNERDEAD)
		fputs("lua-state: a process died while it ran code: delete\n",
		      stderr);
	if (err)
		return fail("entering the VAS", err);
	sid = vas_heap();
	root = vas_root();
	if (sid < 0 || !root)
		return fail("the heap", sid < 0 ? sid : -errno);
	err = *root ? 0 : new_session(sid, root);
	if (err)
		return fail("a new state", err);
	if (!program_is(&((struct session *)*root)->program)) {
		fputs("lua-state: another program made this state: delete\n",
		      stderr);
		return 1;
	}
	err = run(((struct session *)*root)->lua, argv[1]);
	vas_switch(VAS_HOME);
	return err;
}
