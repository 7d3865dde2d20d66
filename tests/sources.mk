# SPDX-License-Identifier: GPL-2.0-or-later
# What a test program needs beyond its own file and lib/: see Makefile.
unit_index_SRCS := $(ROOT)/libpvvas/demo/index.c
unit_index_CPPFLAGS := -I$(ROOT)/libpvvas/demo
static_lib := $(BUILD)/libpvvas/libpvvas.a
unit_absent_LDLIBS := $(static_lib)
unit_arguments_LDLIBS := $(static_lib)
# a thread that is cancelled unwinds its stack with it; loaded at run time otherwise
guest_threads_LDLIBS := -Wl,--no-as-needed -lgcc_s
