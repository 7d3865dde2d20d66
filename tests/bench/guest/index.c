// SPDX-License-Identifier: GPL-2.0-only
/*
 * A data set of linked nodes, the demo's word index, for each process that
 * needs it: attached where it lies, parsed from the text, or unpacked from what
 * msgpack made of it.  Each operation is a process: fork, get the index, look
 * words up, exit.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <msgpack.h>
#include <pvvas.h>

#include "bench.h"
#include "index.h"

#define BASE	((void *)VAS_WINDOW_FIRST)
#define TEXT	"/bench/text"
#define PACKED	"/tmp/packed"

static const char *const words[] = { "hacker", "the", "computer", "love",
				     "time", "man", "Unix", "world" };
#define NR_WORDS	(sizeof(words) / sizeof(words[0]))

struct data {
	int vid;
	size_t text_size;
	uint64_t answers[NR_WORDS];
};

/* What a process makes of the packed index. */
struct entry {
	struct entry *next;
	const char *word;
	uint32_t length;
	uint32_t hash;
	uint64_t count;
	const msgpack_object_array *places;
};

static void *read_all(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t done = 0;
	struct stat st;
	char *p;

	if (fd < 0 || fstat(fd, &st))
		bench_fail("%s: %s", path, strerror(errno));
	p = malloc((size_t)st.st_size);
	while (done < (size_t)st.st_size) {
		ssize_t n = read(fd, p + done, (size_t)st.st_size - done);

		if (n <= 0)
			bench_fail("%s: cannot be read", path);
		done += (size_t)n;
	}
	close(fd);
	*size = done;
	return p;
}

static void *zeroed(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	bench_check(p != MAP_FAILED);
	return p;
}

static uint64_t count_of(const struct index *ix, const char *word)
{
	uint32_t length = (uint32_t)strlen(word);
	const struct node *n = index_find(ix, word, length,
					  word_hash(word, length));

	return n ? n->count : 0;
}

static void ask(const struct index *ix, const struct data *d)
{
	size_t i;

	for (i = 0; i < NR_WORDS; i++)
		if (count_of(ix, words[i]) != d->answers[i])
			bench_fail("%s: wrong count", words[i]);
}

static void use_attached(const struct data *d)
{
	int vh = bench_id(vas_attach(d->vid));

	bench_id(vas_switch(vh));
	ask(BASE, d);
	vas_switch(VAS_HOME);
}

static void use_parsed(const struct data *d)
{
	size_t size;
	char *text = read_all(TEXT, &size);
	size_t room = index_size(size);

	ask(index_build(zeroed(room), room, text, size), d);
}

static void use_nothing(const struct data *d)
{
	(void)d;
}

static const struct entry *look_up(struct entry *const *buckets, uint64_t mask,
				   const char *word)
{
	uint32_t length = (uint32_t)strlen(word);
	uint32_t hash = word_hash(word, length);
	const struct entry *e;

	for (e = buckets[hash & mask]; e; e = e->next)
		if (e->hash == hash && e->length == length &&
		    !memcmp(e->word, word, length))
			break;
	return e;
}

/* [word, [place...]]... */
static void use_unpacked(const struct data *d)
{
	struct entry **buckets, *entries;
	msgpack_unpacked result;
	uint64_t mask = 63;
	size_t size, i;
	char *packed = read_all(PACKED, &size);

	msgpack_unpacked_init(&result);
	if (msgpack_unpack_next(&result, packed, size, NULL) !=
	    MSGPACK_UNPACK_SUCCESS ||
	    result.data.type != MSGPACK_OBJECT_ARRAY)
		bench_fail("msgpack does not read what it wrote");
	while (mask < result.data.via.array.size)
		mask = mask * 2 + 1;
	buckets = calloc(mask + 1, sizeof(struct entry *));
	entries = calloc(result.data.via.array.size, sizeof(*entries));
	for (i = 0; i < result.data.via.array.size; i++) {
		const msgpack_object *pair =
			result.data.via.array.ptr[i].via.array.ptr;
		struct entry *e = &entries[i];

		e->word = pair[0].via.str.ptr;
		e->length = pair[0].via.str.size;
		e->hash = word_hash(e->word, e->length);
		e->places = &pair[1].via.array;
		e->count = e->places->size;
		e->next = buckets[e->hash & mask];
		buckets[e->hash & mask] = e;
	}
	for (i = 0; i < NR_WORDS; i++) {
		const struct entry *e = look_up(buckets, mask, words[i]);

		if ((e ? e->count : 0) != d->answers[i])
			bench_fail("%s: wrong count", words[i]);
	}
}

static void pack(const struct index *ix)
{
	msgpack_sbuffer buffer;
	msgpack_packer pk;
	uint64_t bucket;
	int fd;

	msgpack_sbuffer_init(&buffer);
	msgpack_packer_init(&pk, &buffer, msgpack_sbuffer_write);
	msgpack_pack_array(&pk, ix->distinct);
	for (bucket = 0; bucket <= ix->mask; bucket++) {
		const struct node *n;
		const struct place *p;

		for (n = ix->buckets[bucket]; n; n = n->next) {
			msgpack_pack_array(&pk, 2);
			msgpack_pack_str(&pk, n->length);
			msgpack_pack_str_body(&pk, n->word, n->length);
			msgpack_pack_array(&pk, n->count);
			for (p = n->last; p; p = p->before)
				msgpack_pack_uint64(&pk, p->offset);
		}
	}
	fd = open(PACKED, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bench_check(fd >= 0);
	bench_check(write(fd, buffer.data, buffer.size) ==
		    (ssize_t)buffer.size);
	close(fd);
	msgpack_sbuffer_destroy(&buffer);
}

struct use {
	void (*use)(const struct data *d);
	const struct data *d;
};

static void in_a_process(unsigned long n, void *arg)
{
	const struct use *u = arg;
	int status;
	pid_t pid;

	while (n--) {
		pid = fork();
		if (!pid) {
			u->use(u->d);
			_exit(0);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			bench_fail("a process failed");
	}
}

/* What of it is not the process. */
static void attach_and_ask(unsigned long n, void *arg)
{
	const struct data *d = arg;

	BENCH_LOOP(n) {
		int vh = bench_id(vas_attach(d->vid));

		bench_id(vas_switch(vh));
		ask(BASE, d);
		vas_switch(VAS_HOME);
		bench_id(vas_detach(vh));
	}
}

static void run(const char *name, void (*use)(const struct data *d),
		const struct data *d)
{
	struct use u = { use, d };

	bench_run(&(struct bench){
		"index", name, bench_text("\"text_bytes\": %zu", d->text_size),
		in_a_process, .arg = &u,
		.flags = BENCH_NO_STEP | BENCH_ONCE,
	});
}

int main(int argc, char **argv)
{
	const struct index *ix;
	struct data d;
	size_t room, i;
	char *text;
	int sid, vh;

	bench_init(argc, argv);
	text = read_all(TEXT, &d.text_size);
	room = index_size(d.text_size);
	d.vid = bench_id(vas_create(NULL, 0600));
	sid = bench_id(seg_alloc(NULL, BASE, room, 0600));
	bench_id(seg_attach(d.vid, sid));
	vh = bench_id(vas_attach(d.vid));
	bench_id(vas_switch(vh));
	ix = index_build(BASE, room, text, d.text_size);
	bench_check(ix);
	for (i = 0; i < NR_WORDS; i++)
		d.answers[i] = count_of(ix, words[i]);
	/* the packer allocates outside, and reads in here */
	pack(ix);
	vas_switch(VAS_HOME);
	free(text);
	bench_run(&(struct bench){
		"index", "attach_ask_detach",
		bench_text("\"text_bytes\": %zu", d.text_size), attach_and_ask,
		.arg = &d,
	});
	run("process_alone", use_nothing, &d);
	run("process_attaches", use_attached, &d);
	run("process_parses", use_parsed, &d);
	run("process_unpacks_msgpack", use_unpacked, &d);
	return 0;
}
