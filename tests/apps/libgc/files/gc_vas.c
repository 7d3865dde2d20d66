/* SPDX-License-Identifier: Boehm-GC */
/*
 * The heap in a segment of a virtual address space (libpvvas), whose pages
 * tell which of them were written.
 */

#ifdef GC_VAS
# define _GNU_SOURCE 1 /* for pipe2() */
#endif
#include "private/gc_priv.h"

#ifdef GC_VAS

# include <errno.h>
# include <fcntl.h>
# include <pvvas.h>
# include <string.h>
# include <sys/mman.h>
# include <unistd.h>

# define LARGEST_HEAP ((size_t)64 << 30)
# define LEAST_HEAP   ((size_t)256 << 20)

  /* All of these are protected by the allocation lock, but heap_handle, which   */
  /* changes only while there is a single thread.                               */
  static int heap_segment, clone_of_heap;
  static int heap_handle;
  static ptr_t heap_start, heap_next, heap_limit;

  GC_INNER GC_bool GC_vas_has_dirty_bits = FALSE;

  GC_INNER void GC_vas_enter(void)
  {
    if (heap_handle > 0 && vas_current() != heap_handle
        && vas_switch(heap_handle) < 0)
      ABORT("vas_switch failed");
  }

  static int show_heap(int sid)
  {
    int vid = vas_create(NULL, 0600);
    int res = vid < 0 ? vid : seg_attach(vid, sid);

    heap_handle = res < 0 ? res : vas_attach(vid);
    return heap_handle < 0 ? heap_handle : vas_switch(heap_handle);
  }

  /* The environment says whether: GC_VAS=1.  All there is of the segment is   */
  /* addresses, until it is written.                                           */
  GC_INNER void GC_vas_begin(void)
  {
    char *str = GETENV("GC_VAS");
    size_t size = LARGEST_HEAP;
    void *base;

    if (heap_segment != 0) return;
    heap_segment = -1;
    if (NULL == str || (*str == '0' && *(str + 1) == '\0'))
      return;
    do {
      heap_segment = seg_alloc(NULL, NULL, size, 0600);
      size /= 2;
    } while (heap_segment < 0 && size >= LEAST_HEAP);
    if (heap_segment < 0 || show_heap(heap_segment) < 0
        || seg_range(heap_segment, &base, &size) < 0)
      ABORT("GC_VAS is set, but there is no segment for the heap");
    heap_start = heap_next = (ptr_t)base;
    heap_limit = heap_start + size;
  }

  GC_INNER struct hblk *GC_vas_get_mem(size_t bytes)
  {
    struct hblk *result;

    GC_vas_begin();
    if (heap_segment < 0)
      return GET_MEM(bytes);
    result = (struct hblk *)heap_next;
    if (bytes > (size_t)(heap_limit - heap_next))
      return NULL;
    heap_next += bytes;
    return result;
  }

  GC_INNER GC_bool GC_vas_discard(ptr_t start, size_t bytes)
  {
    if (heap_segment <= 0 || (word)start < (word)heap_start
        || (word)start >= (word)heap_limit)
      return FALSE;
    if (seg_discard(heap_segment, start, bytes) < 0)
      ABORT("seg_discard failed");
    return TRUE;
  }

  /* The software backend compares contents.  It misses a change that is undone */
  /* after the collector has seen it: the collector uses its own dirty bits.    */
  GC_INNER GC_bool GC_vas_dirty_init(void)
  {
    GC_vas_begin();
    GC_vas_has_dirty_bits = heap_segment > 0
                            && pvvas_probe(PVVAS_FEATURE_WRITES) == PVVAS_YES;
    return GC_vas_has_dirty_bits;
  }

# define MAX_PAGES 1024

  GC_INNER void GC_vas_read_dirty(GC_bool output_unneeded,
                                  page_hash_table grungy)
  {
    static void *pages[MAX_PAGES];
    int n, i;

    if (!output_unneeded)
      BZERO(grungy, sizeof(page_hash_table));
    do {
      n = seg_dirty(heap_segment, heap_start, (size_t)(heap_next - heap_start),
                    pages, MAX_PAGES);
      if (n < 0)
        ABORT("seg_dirty failed");
      for (i = 0; i < n && !output_unneeded; i++) {
        struct hblk *h = (struct hblk *)pages[i];
        struct hblk *h_end = (struct hblk *)((ptr_t)h + GC_page_size);

        for (; (word)h < (word)h_end; h++) {
          word index = PHT_HASH(h);
          set_pht_entry_from_index(grungy, index);
        }
      }
    } while (MAX_PAGES == n);
  }

  /* A child gets a copy of the heap, as it gets one of all other memory.  The */
  /* copy has no name, and only its maker keeps it until the child has it: the */
  /* parent waits for a byte that says so.                                     */
  static int fork_pipe[2];

  GC_INNER void GC_vas_fork_prepare(void)
  {
    if (heap_segment <= 0) return;
    clone_of_heap = seg_clone(heap_segment);
    if (clone_of_heap < 0 || pipe2(fork_pipe, O_CLOEXEC) < 0)
      ABORT("No copy of the heap for a child");
  }

  GC_INNER void GC_vas_fork_parent(void)
  {
    char byte;

    if (heap_segment <= 0) return;
    (void)close(fork_pipe[1]);
    while (read(fork_pipe[0], &byte, 1) < 0 && EINTR == errno) {
      /* Empty. */
    }
    (void)close(fork_pipe[0]);
    seg_delete(clone_of_heap);
  }

  GC_INNER void GC_vas_fork_child(void)
  {
    if (heap_segment <= 0) return;
    heap_segment = clone_of_heap;
    /* What was written before is known of the original alone, and the */
    /* copy has none of the protections that it may have had.          */
    GC_incremental = FALSE;
    if (show_heap(heap_segment) < 0 || write(fork_pipe[1], "", 1) != 1)
      ABORT("The child cannot attach its copy of the heap");
    (void)close(fork_pipe[0]);
    (void)close(fork_pipe[1]);
  }

#endif /* GC_VAS */
