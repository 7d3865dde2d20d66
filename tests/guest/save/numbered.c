// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <string.h>

#include <pvvas.h>

#include "numbered.h"
#include "saved.h"
#include "tcase.h"

int numbered_make(const char *name, int number)
{
	int vid = tcase_vas(name, 0600), i;

	check_eq(seg_attach(vid, tcase_seg(name, BASE, MIB, 0600)), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	for (i = 0; i < PAGES; i++)
		*(int *)(BASE + 2 * (size_t)i * PAGE) = number;
	check_eq(vas_switch(VAS_HOME), 0);
	return vid;
}

int numbered_look(const char *name)
{
	int vh = check_id(vas_attach(check_id(vas_find(name)))), i, number;

	check_eq(vas_switch(vh), 0);
	number = *(int *)BASE;
	for (i = 0; i < PAGES; i++)
		check_eq(*(int *)(BASE + 2 * (size_t)i * PAGE), number);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(vh), 0);
	return number;
}

int numbered_in(const char *folder, const char *name)
{
	int ret = saved_load(folder, NULL);

	if (ret == -ENOENT && (!strcmp(saved_message, "manifest") ||
			       !strcmp(saved_message, "folder")))
		return 0;
	if (ret)
		tcase_fail(__FILE__, __LINE__, "load: %d, %s", ret, saved_message);
	ret = numbered_look(name);
	saved_forget(name, name);
	return ret;
}
