// SPDX-License-Identifier: GPL-2.0-only
/*
 * The examples of the library, built as they are installed: each checks itself,
 * and says what it has done.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

static char output[4096];

/* Where the examples are, in the guest or beside the library. */
static const char *folder(void)
{
	return access("/usr/lib/pvvas/examples", X_OK) ||
	       getenv("LD_LIBRARY_PATH") ?
	       "$LD_LIBRARY_PATH/examples" : "/usr/lib/pvvas/examples";
}

static void run_to(int exit_status, const char *command, const char *expected)
{
	char line[1024];
	int status;
	size_t n;
	FILE *f;

	snprintf(line, sizeof(line), "E=%s; { %s; } 2>&1", folder(), command);
	f = popen(line, "r");
	check(f);
	n = fread(output, 1, sizeof(output) - 1, f);
	output[n] = '\0';
	status = pclose(f);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != exit_status ||
	    !strstr(output, expected))
		tcase_note("%s", output);
	check(WIFEXITED(status));
	check_eq(WEXITSTATUS(status), exit_status);
	check(strstr(output, expected));
}

static void run(const char *command, const char *expected)
{
	char line[512];

	snprintf(line, sizeof(line), "$E/%s", command);
	run_to(0, line, expected);
}

static void two_spaces_at_one_address(void)
{
	run("hello", ": hello\n0x");
	check(strstr(output, ": world\n0x"));
}

static void the_figure_of_the_paper(void)
{
	run("paper", "42 at 0x200040000000\n42 at 0x200840000000");
}

static void a_collectors_write_barrier_by_dirty_pages(void)
{
	run("gc-barrier", "second: 3 pages written, 384 of 131072 objects");
}

static void a_concurrent_checkpoint(void)
{
	run("checkpoint", "pages saved by the thread");
}

static void guard_pages_stop_an_overflow(void)
{
	run("guard-pages", "8192 pushed, stopped at the end of page 16");
}

static void a_second_face_for_a_collector(void)
{
	run("second-face", "16 pages scanned before they were seen\n4 again");
}

static void two_processes_one_after_the_other(void)
{
	run("two-processes write one two three", "");
	run("two-processes read", "three\ntwo\none");
	run("two-processes delete", "");
}

static void a_list_that_everybody_changes(void)
{
	run("shared-list add one two", "");
	run("shared-list show", "two");
	run("shared-list clear", "");
	run("shared-list delete", "");
}

static void a_condition_variable_in_a_segment(void)
{
	run("condition", "1000 items, sum 500500");
}

static void standard_containers_outlive_their_process(void)
{
	run("containers add to be or not to be", "");
	run("containers add that is not all", "");
	run("containers show", "not: 1 2\nor: 1\nthat: 2\nto: 1 1\n");
	run("containers delete", "");
}

static void a_second_process_carries_a_lua_state_on(void)
{
	run("lua-state 'function twice(x) return 2 * x end  word = \"kept\"'", "");
	run("lua-state 'squares = coroutine.wrap(function() "
	    "for i = 1, 9 do coroutine.yield(i * i) end end) print(squares())'",
	    "1\n");
	/* a coroutine goes on in the process after the one that began it */
	run("lua-state 'print(squares(), twice(21), word:upper())'",
	    "4\t42\tKEPT\n");
	run_to(1, "$E/lua-state 'error(\"oops\")'", "command:1: oops");
	run("lua-state 'collectgarbage() print(squares())'", "9\n");
	/* another file: its functions are not where the state says */
	run_to(1, "cp $E/lua-state /tmp/lua-state.$$; /tmp/lua-state.$$ 'x = 1'; "
	       "s=$?; rm /tmp/lua-state.$$; exit $s",
	       "another program made this state");
	run("lua-state delete", "");
}

static void a_second_process_carries_a_database_on(void)
{
	run("sqlite-heap 'create table t(x integer primary key, y); "
	    "create index i on t(y); "
	    "with recursive c(x) as (select 1 union all select x + 1 from c "
	    "where x < 2000) insert into t select x, hex(x) from c'", "");
	run("sqlite-heap 'select count(*), max(y) from t'", "2000|393939\n");
	/* even what is not committed yet */
	run("sqlite-heap 'begin; delete from t where x > 1'", "");
	run("sqlite-heap 'select count(*) from t; rollback'", "1\n");
	run("sqlite-heap 'select count(*) from t; pragma integrity_check'",
	    "2000\nok\n");
	run_to(1, "$E/sqlite-heap 'select * from none'", "no such table");
	run("sqlite-heap delete", "");
}

static void a_pager_compresses_what_is_not_in_use(void)
{
	run("compress", "512 pages: 32 in memory, the others in a quarter of "
	    "their size\n1536 in, 1504 out\n");
}

static void each_node_has_a_replica_at_one_address(void)
{
	run("numa-replicas", "CPU 0, node 0: all found at 0x200040000000\n");
}

static const struct tcase cases[] = {
	CASE(two_spaces_at_one_address),
	CASE(the_figure_of_the_paper),
	CASE(a_collectors_write_barrier_by_dirty_pages),
	CASE(a_concurrent_checkpoint),
	CASE(guard_pages_stop_an_overflow),
	CASE(a_second_face_for_a_collector),
	CASE(two_processes_one_after_the_other),
	CASE(a_list_that_everybody_changes),
	CASE(a_condition_variable_in_a_segment),
	CASE(standard_containers_outlive_their_process),
	CASE(a_second_process_carries_a_lua_state_on),
	CASE(a_second_process_carries_a_database_on),
	CASE(a_pager_compresses_what_is_not_in_use),
	CASE(each_node_has_a_replica_at_one_address),
};

TCASE_MAIN(cases, 0)
