// SPDX-License-Identifier: GPL-2.0-only
/*
 * Arguments that are refused before any driver is asked.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>
#include <pvvas.h>

static char long_name[VAS_NAME_MAX + 2];

static int group_setup(void **state)
{
	(void)state;
	memset(long_name, 'n', VAS_NAME_MAX + 1);
	return 0;
}

static void names_are_1_to_255_bytes(void **state)
{
	(void)state;
	assert_int_equal(vas_create("", 0600), -EINVAL);
	assert_int_equal(vas_find(""), -EINVAL);
	assert_int_equal(vas_find(NULL), -EINVAL);
	assert_int_equal(seg_find(""), -EINVAL);
	assert_int_equal(seg_find(NULL), -EINVAL);
	assert_int_equal(seg_alloc("", NULL, 4096, 0600), -EINVAL);
	assert_int_equal(vas_create(long_name, 0600), -ENAMETOOLONG);
	assert_int_equal(vas_find(long_name), -ENAMETOOLONG);
	assert_int_equal(seg_find(long_name), -ENAMETOOLONG);
	assert_int_equal(seg_alloc(long_name, NULL, 4096, 0600), -ENAMETOOLONG);
}

static void modes_are_0777_at_most(void **state)
{
	struct vas_attr va = { .size = sizeof(va), .valid = VAS_ATTR_MODE,
			       .mode = 01000 };
	struct seg_attr sa = { .size = sizeof(sa), .valid = VAS_ATTR_MODE,
			       .mode = 01000 };

	(void)state;
	assert_int_equal(vas_create("v", 01000), -EINVAL);
	assert_int_equal(vas_create("v", (mode_t)-1), -EINVAL);
	assert_int_equal(seg_alloc("s", NULL, 4096, 04755), -EINVAL);
	assert_int_equal(vas_ctl(VAS_CTL_SETATTR, 1, &va), -EINVAL);
	assert_int_equal(seg_ctl(1, SEG_CTL_SETATTR, &sa), -EINVAL);
}

static void a_segment_has_an_aligned_base_and_a_size(void **state)
{
	void *base = (void *)VAS_WINDOW_FIRST;

	(void)state;
	assert_int_equal(seg_alloc("s", base, 0, 0600), -EINVAL);
	assert_int_equal(seg_alloc("s", base, SIZE_MAX, 0600), -EINVAL);
	assert_int_equal(seg_alloc("s", (char *)base + 1, 4096, 0600), -EINVAL);
	assert_int_equal(seg_alloc("s", (char *)base + 512, 4096, 0600), -EINVAL);
}

static void an_error_is_no_id(void **state)
{
	void *base;
	size_t size;

	(void)state;
	assert_int_equal(vas_attach(-ENOENT), -EINVAL);
	assert_int_equal(vas_attach(0), -EINVAL);
	assert_int_equal(vas_detach(-ENOENT), -EINVAL);
	assert_int_equal(vas_detach(VAS_HOME), -EINVAL);
	assert_int_equal(vas_delete(-1), -EINVAL);
	assert_int_equal(vas_delete(0), -EINVAL);
	assert_int_equal(seg_attach(-1, 1), -EINVAL);
	assert_int_equal(seg_attach(1, -1), -EINVAL);
	assert_int_equal(seg_attach(0, 1), -EINVAL);
	assert_int_equal(seg_detach(-1, 1), -EINVAL);
	assert_int_equal(seg_detach(1, 0), -EINVAL);
	assert_int_equal(seg_delete(0), -EINVAL);
	assert_int_equal(seg_range(-1, &base, &size), -EINVAL);
}

static void a_vas_id_is_no_handle(void **state)
{
	(void)state;
	assert_int_equal(vas_detach(1), -EINVAL);
}

static void rights_are_read_or_read_and_write(void **state)
{
	(void)state;
	assert_int_equal(seg_attach_prot(1, 1, PROT_NONE), -EINVAL);
	assert_int_equal(seg_attach_prot(1, 1, PROT_WRITE), -EINVAL);
	assert_int_equal(seg_attach_prot(1, 1, PROT_EXEC), -EINVAL);
	assert_int_equal(seg_attach_prot(1, 1, PROT_READ | PROT_EXEC), -EINVAL);
	assert_int_equal(seg_attach_prot(1, 1, -1), -EINVAL);
}

static void ctl_refuses_unknown_commands_and_swapped_arguments(void **state)
{
	struct vas_attr va = { .size = sizeof(va) };
	struct seg_attr sa = { .size = sizeof(sa) };

	(void)state;
	assert_int_equal(vas_ctl(0, 1), -EINVAL);
	assert_int_equal(seg_ctl(1, 0), -EINVAL);
	assert_int_equal(vas_ctl(SEG_CTL_GETATTR, 1, &sa), -EINVAL);
	assert_int_equal(seg_ctl(1, VAS_CTL_GETATTR, &va), -EINVAL);
	assert_int_equal(vas_ctl(1, VAS_CTL_GETATTR, &va), -EINVAL);
	assert_int_equal(seg_ctl(SEG_CTL_GETATTR, 1, &sa), -EINVAL);
}

static void structs_bring_their_size(void **state)
{
	struct pvvas_stats st = { .size = offsetof(struct pvvas_stats, freeing) - 1 };
	struct vas_attr va = { .size = 0 };
	struct seg_attr sa = { .size = 1 };
	void *base;
	size_t size;

	(void)state;
	assert_int_equal(pvvas_stats(NULL), -EINVAL);
	assert_int_equal(pvvas_stats(&st), -EINVAL);
	st.size = sizeof(st) + 1;
	assert_int_equal(pvvas_stats(&st), -EINVAL);
	assert_int_equal(vas_ctl(VAS_CTL_GETATTR, 1, &va), -EINVAL);
	assert_int_equal(vas_ctl(VAS_CTL_GETATTR, 1, NULL), -EINVAL);
	assert_int_equal(vas_ctl(VAS_CTL_SETATTR, 1, &va), -EINVAL);
	assert_int_equal(vas_ctl(VAS_CTL_SETATTR, 1, NULL), -EINVAL);
	assert_int_equal(seg_ctl(1, SEG_CTL_GETATTR, &sa), -EINVAL);
	assert_int_equal(seg_ctl(1, SEG_CTL_SETATTR, NULL), -EINVAL);
	assert_int_equal(pvvas_window(NULL, &size), -EINVAL);
	assert_int_equal(pvvas_window(&base, NULL), -EINVAL);
	assert_int_equal(seg_range(1, NULL, &size), -EINVAL);
}

static void unknown_attributes_are_refused(void **state)
{
	struct vas_attr va = { .size = sizeof(va), .valid = 1U << 31 };
	struct seg_attr sa = { .size = sizeof(sa), .valid = VAS_ATTR_EXPIRY << 1 };

	(void)state;
	assert_int_equal(vas_ctl(VAS_CTL_SETATTR, 1, &va), -EINVAL);
	assert_int_equal(seg_ctl(1, SEG_CTL_SETATTR, &sa), -EINVAL);
}

static void an_unknown_feature_is_unknown(void **state)
{
	(void)state;
	assert_int_equal(pvvas_probe((enum pvvas_feature)1000), PVVAS_UNKNOWN);
	assert_int_equal(pvvas_probe((enum pvvas_feature)-1), PVVAS_UNKNOWN);
}

static void the_library_is_as_old_as_its_header(void **state)
{
	(void)state;
	assert_int_equal(pvvas_version(),
			 PVVAS_VERSION_MAJOR << 16 | PVVAS_VERSION_MINOR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_1_to_255_bytes),
		cmocka_unit_test(modes_are_0777_at_most),
		cmocka_unit_test(a_segment_has_an_aligned_base_and_a_size),
		cmocka_unit_test(an_error_is_no_id),
		cmocka_unit_test(a_vas_id_is_no_handle),
		cmocka_unit_test(rights_are_read_or_read_and_write),
		cmocka_unit_test(ctl_refuses_unknown_commands_and_swapped_arguments),
		cmocka_unit_test(structs_bring_their_size),
		cmocka_unit_test(unknown_attributes_are_refused),
		cmocka_unit_test(an_unknown_feature_is_unknown),
		cmocka_unit_test(the_library_is_as_old_as_its_header),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
