# SPDX-License-Identifier: GPL-2.0-or-later
# What a test program needs beyond its own file and lib/: see Makefile.
unit_index_SRCS := $(ROOT)/libpvvas/demo/index.c
unit_index_CPPFLAGS := -I$(ROOT)/libpvvas/demo
comma := ,
static_lib := $(BUILD)/libpvvas/libpvvas.a
unit_absent_LDLIBS := $(static_lib)
unit_arguments_LDLIBS := $(static_lib)
# a thread that is cancelled unwinds its stack with it; loaded at run time otherwise
guest_threads_LDLIBS := -Wl,--no-as-needed -lgcc_s
guest_environments_CPPFLAGS := -I$(O)/made
guest_heap_faces_LDLIBS := $(guest_threads_LDLIBS)
# heaps in ordinary memory: the core of the library's heap, without the library
heap_tests := heap_basic heap_space heap_limits heap_instructions heap_random heap_storm heap_locks heap_hostile heap_collect life
$(foreach t,$(heap_tests),$(eval unit_$(t)_SRCS := unit/heap/support.c))
$(foreach t,$(heap_tests),$(eval unit_$(t)_CPPFLAGS := -I$(ROOT)/libpvvas/src))
$(foreach t,$(heap_tests),$(eval unit_$(t)_LDLIBS := $(static_lib)))
guest_locks_hostile_SRCS := guest/locks/attacker.c
guest_locks_crowds_SRCS := guest/locks/attacker.c
guest_locks_liars_SRCS := guest/locks/attacker.c
guest_locks_unmapped_SRCS := guest/locks/attacker.c
guest_locks_liars_LDLIBS := $(guest_threads_LDLIBS)
guest_save_damage_SRCS := guest/save/numbered.c
guest_save_stopped_SRCS := guest/save/numbered.c
guest_ioctl_fuzz_SRCS := guest/ioctl_fuzz/fill.c
guest_differential_SRCS := $(addprefix guest/differential/,model.c model_pages.c choose.c calls.c calls_pages.c compare.c)
# calls of the C library that fail when the program wants it
unit_failures_LDLIBS := $(static_lib) $(addprefix -Wl$(comma)--wrap=,openat fstat ftruncate mkdir lseek madvise mmap flock pread pwrite)
unit_registry_LDLIBS := $(static_lib)
unit_registry_room_LDLIBS := $(static_lib)
unit_registry_room_CPPFLAGS := -I$(ROOT)/libpvvas/src
