// SPDX-License-Identifier: GPL-2.0-only
/*
 * For tests/host/kexec.sh.  `kexec away KERNEL INITRD`: processes go into views,
 * and one of them starts the other kernel from there.  `kexec arrived`: in that
 * kernel, look what the hypervisor has, and use it.
 */
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <pvvas.h>

#define BASE	((volatile char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define OTHERS	3

static int enter_a_view(void)
{
	int vid = vas_create(NULL, 0600), vh;
	int sid = seg_alloc(NULL, (void *)BASE, MIB, 0600);

	if (vid < 0 || sid < 0 || seg_attach(vid, sid))
		return -1;
	vh = vas_attach(vid);
	if (vh < 0 || vas_switch(vh))
		return -1;
	memset((char *)BASE, 1, MIB);
	return 0;
}

static void tell(const char *who)
{
	struct pvvas_stats st = { .size = sizeof(st) };

	if (pvvas_stats(&st))
		return;
	printf("%s kernel: %llu contexts, %llu views, %llu trees, %llu tables\n",
	       who, (unsigned long long)st.hv_ctxs,
	       (unsigned long long)st.hv_views, (unsigned long long)st.trees,
	       (unsigned long long)st.tables);
	fflush(stdout);
}

static int away(const char *kernel, const char *initrd)
{
	atomic_int *inside = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int image = open(kernel, O_RDONLY), files = open(initrd, O_RDONLY), i;
	char line[2048] = "";
	int fd = open("/proc/cmdline", O_RDONLY);

	if (inside == MAP_FAILED || image < 0 || files < 0 ||
	    read(fd, line, sizeof(line) - 1) <= 0)
		return 1;
	line[strcspn(line, "\n")] = '\0';
	if (syscall(SYS_kexec_file_load, image, files, strlen(line) + 1, line,
		    0UL)) {
		perror("kexec_file_load");
		return 1;
	}
	for (i = 0; i < OTHERS; i++) {
		if (fork())
			continue;
		if (enter_a_view())
			_exit(1);
		atomic_fetch_add(inside, 1);
		for (;;)
			BASE[0]++;
	}
	if (enter_a_view())
		return 1;
	while (atomic_load(inside) < OTHERS)
		usleep(1000);
	tell("first");
	sync();
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		LINUX_REBOOT_CMD_KEXEC, NULL);
	perror("reboot");
	return 1;
}

static int arrived(void)
{
	tell("second");
	if (enter_a_view() || BASE[MIB - 1] != 1 || vas_switch(VAS_HOME))
		return 1;
	printf("second kernel: works\n");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "away"))
		return away(argv[2], argv[3]);
	if (argc == 2 && !strcmp(argv[1], "arrived"))
		return arrived();
	return 2;
}
