/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Cases that exchange the driver.  No driver may be in use then, so they do without
 * the runner of the others: each is a process, and looks for leaks itself.
 */
#ifndef DRIVER_H
#define DRIVER_H

/* 0 or -errno */
int driver_unload(void);
int driver_load(const char *file, const char *parameters);
/* What has just ended may still hold it for a moment. */
void driver_unload_soon(void);
/* Without parameters. */
void driver_change_to(const char *file);

/* Parameters of the driver: set one, run fn(NULL) with it, set it to @normal again. */
void driver_parameter(const char *name, long value);
void driver_with(const char *name, long value, long normal,
		 void (*fn)(void *arg));

/*
 * The kernel's log from now on; there are lines with @text, of the driver's, in it, which
 * is closed: some, and no more than one in so many seconds from @since on.
 */
int driver_log_open(void);
void driver_is_logged(int fd, const char *text, long since);

/* Nothing is left of what cases made: now, or after a while.  For tcase_spawn(). */
void driver_empty(void *arg);
void driver_empty_soon(void *arg);

/* @cpus: the case is skipped on fewer */
struct driver_case {
	const char *name;
	void (*run)(void);
	int cpus;
};

#define DRIVER_CASE(name, cpus)	{ #name, name, cpus }

/* The status of main(). */
int driver_cases(const struct driver_case *cases, int nr);

#define DRIVER_MAIN(cases) \
	int main(void) \
	{ \
		return driver_cases(cases, sizeof(cases) / sizeof((cases)[0])); \
	}

#endif
