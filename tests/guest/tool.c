// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command line tool, run as a user runs it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

static char output[65536];

/* Run "pvvas ARGUMENTS"; its exit status, and its output in output[]. */
static int pvvas(const char *arguments)
{
	char command[1024];
	size_t n;
	FILE *f;
	int status;

	snprintf(command, sizeof(command), "pvvas %s 2>&1", arguments);
	f = popen(command, "r");
	check(f);
	n = fread(output, 1, sizeof(output) - 1, f);
	output[n] = '\0';
	status = pclose(f);
	check(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void makes_lists_and_removes(void)
{
	const char *name = tcase_name("tool");
	char command[512];
	int vid, sid;

	snprintf(command, sizeof(command), "create vas %s -m 640", name);
	check_eq(pvvas(command), 0);
	vid = check_id(atoi(output));
	tcase_track_vas(vid);
	snprintf(command, sizeof(command), "create seg %s 8M -b 0x%lx", name,
		 VAS_WINDOW_FIRST);
	check_eq(pvvas(command), 0);
	sid = check_id(atoi(output));
	tcase_track_seg(sid);
	check_eq(vas_find(name), vid);
	check_eq(seg_find(name), sid);
	snprintf(command, sizeof(command), "attach %s %s ro", name, name);
	check_eq(pvvas(command), 0);
	check_eq(pvvas("ls"), 0);
	check(strstr(output, name));
	check(strstr(output, "8388608"));
	snprintf(command, sizeof(command), "stat vas %s", name);
	check_eq(pvvas(command), 0);
	check(strstr(output, "0640"));
	check(strstr(output, "r- "));
	snprintf(command, sizeof(command), "--json stat vas %s", name);
	check_eq(pvvas(command), 0);
	check(strstr(output, "\"writable\":false"));
	snprintf(command, sizeof(command), "chmod 600 vas %s", name);
	check_eq(pvvas(command), 0);
	snprintf(command, sizeof(command), "detach %s %s", name, name);
	check_eq(pvvas(command), 0);
	snprintf(command, sizeof(command), "rm vas %s", name);
	check_eq(pvvas(command), 0);
	check_eq(vas_find(name), -ENOENT);
	snprintf(command, sizeof(command), "rm seg '#%d'", sid);
	check_eq(pvvas(command), 0);
	check_eq(seg_find(name), -ENOENT);
}

static void nothing_of_a_name_is_a_command_to_the_terminal(void)
{
	static const char name[] = "\303\251 \2332J \302\233 \342\200\256 \377";
	const char *p;

	tcase_vas(name, 0600);
	check_eq(pvvas("ls vas"), 0);
	check(strstr(output, "\xc3\xa9 \\x9b2J \\xc2\\x9b \\xe2\\x80\\xae \\xff\n"));
	check_eq(pvvas("ls vas --json"), 0);
	check(strstr(output, "\"\xc3\xa9 \\u009b2J \\u009b \\u202e \\u00ff\""));
	for (p = output; *p; p++)
		check(*p == '\n' || ((unsigned char)*p >= 0x20 && *p != 0x7f &&
				     *p != (char)0x9b && *p != (char)0xff));
}

static void exit_statuses_mean_something(void)
{
	check_eq(pvvas(""), 2);
	check_eq(pvvas("nonsense"), 2);
	check_eq(pvvas("create seg x notasize"), 2);
	check_eq(pvvas("chmod 999 vas x"), 2);
	check_eq(pvvas("stat vas no-such-vas"), 3);
	check_eq(pvvas("rm seg no-such-segment"), 3);
	check_eq(pvvas("cp seg:no-such-segment /tmp/file"), 3);
	check_eq(pvvas("cp a b"), 2);
	check_eq(pvvas("create vas x -b 0"), 2);
	check_eq(pvvas("create vas x --huge"), 2);
	check_eq(pvvas("create seg x 4K --tiny"), 2);
	check_eq(pvvas("create seg x 4K --bind"), 2);
	check_eq(pvvas("create seg x 4K --bind 2-1"), 2);
	check_eq(pvvas("create seg x 4K --bind 0,64"), 2);
	check_eq(pvvas("create seg x 4K --bind 0 --prefer 0"), 2);
	check_eq(pvvas("create seg x 4K --huge --small"), 1);
	check_eq(pvvas("create seg x 4K --no-reserve --populate"), 1);
	check_eq(pvvas("create vas x --hugetlb"), 2);
	check_eq(pvvas("--help"), 0);
	check(strstr(output, "chmod MODE"));
	check_eq(pvvas("ls --json"), 0);
	check_eq(output[0], '[');
}

static void hugetlb_pool(int pages)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "w");

	check(f && fprintf(f, "%d\n", pages) > 0 && !fclose(f));
	check_eq(tcase_number("/proc/meminfo", "HugePages_Total:"), pages);
}

/* They are the segment's until it goes; what cannot be is refused with a reason. */
static void creates_segments_of_hugetlbfs(void)
{
	const char *name = tcase_name("hugetlb");
	struct seg_attr attr = { .size = sizeof(attr) };
	char command[256];
	int sid;

	tcase_need(PVVAS_FEATURE_SWITCH);
	hugetlb_pool(4);
	snprintf(command, sizeof(command), "create seg %s 4M --hugetlb", name);
	check_eq(pvvas(command), 0);
	sid = check_id(seg_find(name));
	tcase_track_seg(sid);
	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &attr), 0);
	check_eq(attr.resident, 4 * MIB);
	check_eq(tcase_number("/proc/meminfo", "HugePages_Free:"), 2);
	check_eq(pvvas("create seg x 4M --hugetlb --huge"), 1);
	check_eq(pvvas("create seg x 4M --hugetlb --no-reserve"), 1);
	check_eq(pvvas("create seg x 3M --hugetlb 2>&1"), 1);
	check(strstr(output, "multiples of 2M"));
	check(pvvas("create seg x 6M --hugetlb 2>&1") != 0);
	check(strstr(output, "nr_hugepages"));
	check_eq(tcase_number("/proc/meminfo", "HugePages_Free:"), 2);
	check_eq(seg_delete(sid), 0);
	check_eq(tcase_number("/proc/meminfo", "HugePages_Free:"), 4);
	hugetlb_pool(0);
}

static void segments_without_reserve_are_as_all(void)
{
	const char *name = tcase_name("noreserve");
	struct seg_attr attr = { .size = sizeof(attr) };
	char command[256];
	int sid;

	snprintf(command, sizeof(command), "create seg %s 1T --no-reserve", name);
	check_eq(pvvas(command), 0);
	sid = check_id(seg_find(name));
	tcase_track_seg(sid);
	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &attr), 0);
	check_eq(attr.resident, 0);
}

static void copies_a_sparse_segment_out_and_in(void)
{
	size_t size = 32UL << 30, last = size - 4096;
	const char *name = tcase_name("copy");
	const char *file = "/tmp/pvvas-copy";
	struct seg_attr attr = { .size = sizeof(attr) };
	char command[512];
	int vid, sid, vh;
	struct stat st;

	sid = tcase_seg(name, BASE, size, 0600);
	vid = tcase_vas(NULL, 0600);
	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	strcpy(BASE + 5000, "first");
	strcpy(BASE + last, "last");
	check_eq(vas_switch(VAS_HOME), 0);

	snprintf(command, sizeof(command), "cp seg:%s %s", name, file);
	check_eq(pvvas(command), 0);
	check_eq(stat(file, &st), 0);
	check_eq(st.st_size, size);
	check(st.st_blocks * 512 <= (blkcnt_t)MIB);

	check_eq(vas_switch(vh), 0);
	strcpy(BASE + 5000, "other");
	strcpy(BASE + last, "else");
	check_eq(vas_switch(VAS_HOME), 0);
	snprintf(command, sizeof(command), "cp %s seg:%s", file, name);
	check_eq(pvvas(command), 0);
	check_eq(vas_switch(vh), 0);
	check(!strcmp(BASE + 5000, "first"));
	check(!strcmp(BASE + last, "last"));
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &attr), 0);
	check(attr.resident <= 8 * MIB);
	unlink(file);
}

/* "tool" itself is the program that is run in the VAS. */
static int inside(void)
{
	if (vas_current() == VAS_HOME || strcmp(BASE, "for you"))
		return 1;
	puts("inside");
	return 0;
}

static void runs_a_program_in_a_vas(void)
{
	const char *name = tcase_name("run");
	char command[512], self[256];
	int vid = tcase_vas(name, 0600);
	ssize_t n;

	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	check(n > 0);
	self[n] = '\0';
	check_eq(seg_attach(vid, tcase_seg(NULL, BASE, MIB, 0600)), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	strcpy(BASE, "for you");
	check_eq(vas_switch(VAS_HOME), 0);
	snprintf(command, sizeof(command), "run %s -- %s inside", name, self);
	check_eq(pvvas(command), 0);
	check(!strcmp(output, "inside\n"));
	check_eq(pvvas("run no-such-vas -- true"), 3);
}

static void doctor_finds_nothing_wrong(void)
{
	tcase_need(PVVAS_FEATURE_DRIVER);
	check_eq(pvvas("doctor"), 0);
	check(!strstr(output, "no "));
	check_eq(pvvas("--json doctor"), 0);
	check(strstr(output, "\"driver\":\"yes\""));
}

static void die_in_it(void *arg)
{
	int vh = check_id(vas_attach(*(int *)arg));

	check_eq(vas_switch(vh), 0);
	raise(SIGKILL);
}

static void makes_a_lost_lock_new(void)
{
	const char *name = tcase_name("locked");
	int vid = tcase_vas(NULL, 0600), sid = tcase_seg(name, BASE, MIB, 0600);
	char command[512];
	int vh;

	snprintf(command, sizeof(command), "unlock %s", name);
	check_eq(pvvas(command), 1);
	check_eq(seg_attach(vid, sid), 0);
	check_eq(seg_ctl(sid, SEG_CTL_LOCK_ON), 0);
	tcase_join_killed(tcase_spawn(die_in_it, &vid), SIGKILL);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), -EOWNERDEAD);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_switch(vh), -ENOTRECOVERABLE);
	check_eq(pvvas(command), 0);
	check_eq(vas_switch(vh), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(pvvas("unlock there-is-none"), 3);
	check_eq(pvvas("unlock"), 2);
}

/* Root reads the list of processes, which the software backend has not. */
static void top_names_what_holds_an_object(void)
{
	int sid, vid = tcase_vas_with_seg(BASE, MIB, &sid);
	char holder[64], object[64];
	const char *p;

	tcase_need(PVVAS_FEATURE_DRIVER);
	check_id(vas_attach(vid));
	check_eq(mount("pvvas", "/sys/fs/pvvas", "pvvas", 0, NULL), 0);
	check_eq(pvvas("--json top"), 0);
	check_eq(umount("/sys/fs/pvvas"), 0);
	snprintf(object, sizeof(object), "\"kind\":\"vas\",\"id\":%d,", vid);
	p = strstr(output, object);
	check(p);
	snprintf(holder, sizeof(holder), "\"holders\":[{\"pid\":%d}]}",
		 getpid());
	check(strstr(p, holder));
	snprintf(object, sizeof(object), "\"kind\":\"seg\",\"id\":%d,", sid);
	p = strstr(output, object);
	check(p);
	snprintf(holder, sizeof(holder), "\"holders\":[{\"vas\":%d}]}", vid);
	check(strstr(p, holder));
}

static void in_a_namespace_of_its_own(void *arg)
{
	pid_t pid;
	int status;

	check_eq(unshare(CLONE_NEWPID), 0);
	pid = fork();
	if (!pid) {
		/* the first process there */
		check_id(vas_attach(*(int *)arg));
		check_eq(pvvas("--json ps"), 0);
		check(!strncmp(output, "[{\"pid\":1,", 10));
		check(!strstr(output + 10, "\"pid\""));
		snprintf(output, sizeof(output), "grep '^process 1 ' /sys/fs/pvvas/vas/%s",
			 (const char *)arg + sizeof(int));
		check_eq(system(output), 0);
		_exit(0);
	}
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
}

/* A reader gets the processes of its namespace, by their numbers there. */
static void processes_have_the_ids_that_the_reader_knows(void)
{
	const char *name = tcase_name("inside");
	struct {
		int vid;
		char name[64];
	} arg = { .vid = tcase_vas(name, 0600) };

	tcase_need(PVVAS_FEATURE_DRIVER);
	strcpy(arg.name, name);
	check_id(vas_attach(arg.vid));
	check_eq(pvvas("ps"), 5);
	check(strstr(output, "not mounted"));
	check_eq(mount("pvvas", "/sys/fs/pvvas", "pvvas", 0, NULL), 0);
	tcase_join(tcase_spawn(in_a_namespace_of_its_own, &arg));
	check_eq(umount("/sys/fs/pvvas"), 0);
}

/* U+009B is a command to terminals, and 0xff no character at all. */
static void control_files_have_nothing_of_a_name_but_letters(void)
{
	int vid = tcase_vas("c\302\2332J \\\377", 0600);

	tcase_need(PVVAS_FEATURE_DRIVER);
	check_id(vas_attach(vid));
	check_eq(mount("pvvas", "/sys/fs/pvvas", "pvvas", 0, NULL), 0);
	check_eq(system("grep -F 'name c\\302\\2332J\\040\\134\\377' /sys/fs/pvvas/processes"), 0);
	check_eq(pvvas("ps"), 0);
	check_eq(umount("/sys/fs/pvvas"), 0);
	check(strstr(output, " c\\xc2\\x9b2J \\\\xff\n"));
}

/* A writer of a segment can protect it, or die with its lock. */
static void copies_of_what_cannot_be_read_are_errors(void)
{
	const char *name = tcase_name("shut");
	int vid = tcase_vas(NULL, 0600), sid = tcase_seg(name, BASE, MIB, 0600);
	char out[512], in[512];

	snprintf(out, sizeof(out), "cp seg:%s /tmp/%s", name, name);
	snprintf(in, sizeof(in), "cp /tmp/%s seg:%s", name, name);
	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	strcpy(BASE, "secret");
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(pvvas(out), 0);
	check_eq(seg_ctl(sid, SEG_CTL_PROTECT, BASE, 4096UL, PROT_NONE), 0);
	check_eq(pvvas(out), 1);
	check(strstr(output, ": protected, or without memory\n"));
	check_eq(seg_ctl(sid, SEG_CTL_PROTECT, BASE, 4096UL, PROT_READ), 0);
	check_eq(pvvas(out), 0);
	check_eq(pvvas(in), 0);
	check_eq(seg_ctl(sid, SEG_CTL_UNPROTECT, BASE, 4096UL), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	strcpy(BASE, "other");
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(seg_ctl(sid, SEG_CTL_PROTECT, BASE, 4096UL, PROT_READ), 0);
	check_eq(pvvas(in), 1);
	check(strstr(output, ": protected, or without memory\n"));
	check_eq(seg_ctl(sid, SEG_CTL_UNPROTECT, BASE, 4096UL), 0);
	check_eq(seg_ctl(sid, SEG_CTL_LOCK_ON), 0);
	tcase_join_killed(tcase_spawn(die_in_it, &vid), SIGKILL);
	check_eq(pvvas(out), 1);
	snprintf(in, sizeof(in), "pvvas: seg %s: Owner died\n", name);
	check(!strcmp(output, in));
	snprintf(in, sizeof(in), "/tmp/%s", name);
	check_eq(unlink(in), 0);
}

static void a_heap_is_rid_of_what_nothing_leads_to(void)
{
	const char *name = tcase_name("heap");
	int vid = tcase_vas(NULL, 0600), sid = tcase_seg(name, BASE, MIB, 0600);
	char look[512], collect[512];

	snprintf(look, sizeof(look), "--json heap %s", name);
	snprintf(collect, sizeof(collect), "heap %s --collect --json", name);
	check_eq(pvvas(collect), 1);
	check(strstr(output, "there is no heap"));
	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	check(seg_malloc(sid, 10000) && seg_malloc(sid, 100));
	*seg_root(sid) = seg_calloc(sid, 1, 200);
	check(*seg_root(sid));
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(pvvas(look), 0);
	check(strstr(output, "\"blocks\":3,"));
	check(strstr(output, "\"unreachable\":10352}"));
	check_eq(pvvas(collect), 0);
	check(strstr(output, "\"blocks\":1,"));
	check(strstr(output, "\"collected\":10352}"));
	check_eq(pvvas(look), 0);
	check(strstr(output, "\"unreachable\":0}"));
	check_eq(pvvas("heap there-is-none"), 3);
	check_eq(pvvas("heap"), 2);
}

static void a_heap_that_is_protected_meanwhile_is_an_error(void)
{
	const char *name = tcase_name("closed");
	int vid = tcase_vas(NULL, 0600), sid = tcase_seg(name, BASE, MIB, 0600);
	char look[512];

	snprintf(look, sizeof(look), "heap %s", name);
	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	check(seg_malloc(sid, 100));
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(seg_protect(sid, BASE, MIB, PROT_NONE), 0);
	check_eq(pvvas(look), 1);
	check(strstr(output, "protected, or without memory"));
	check_eq(seg_protect(sid, BASE, MIB, PROT_READ | PROT_WRITE), 0);
	check_eq(pvvas(look), 0);
}

static const struct tcase cases[] = {
	CASE(makes_lists_and_removes),
	CASE(nothing_of_a_name_is_a_command_to_the_terminal),
	CASE(exit_statuses_mean_something),
	CASE(creates_segments_of_hugetlbfs),
	CASE(segments_without_reserve_are_as_all),
	CASE(copies_a_sparse_segment_out_and_in),
	CASE(runs_a_program_in_a_vas),
	CASE(doctor_finds_nothing_wrong),
	CASE(makes_a_lost_lock_new),
	CASE(top_names_what_holds_an_object),
	CASE(processes_have_the_ids_that_the_reader_knows),
	CASE(control_files_have_nothing_of_a_name_but_letters),
	CASE(copies_of_what_cannot_be_read_are_errors),
	CASE(a_heap_is_rid_of_what_nothing_leads_to),
	CASE(a_heap_that_is_protected_meanwhile_is_an_error),
};

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "inside"))
		return inside();
	return tcase_main(cases, sizeof(cases) / sizeof(cases[0]), 0);
}
