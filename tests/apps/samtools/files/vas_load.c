// SPDX-License-Identifier: MIT
/*  vas_load.c -- vas-load subcommand: leave alignments in an address space.  */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "htslib/sam.h"
#include "htslib/kstring.h"
#include "samtools.h"
#include "sam_opts.h"

static int usage(FILE *fp)
{
    fprintf(fp,
"Usage: samtools vas-load [options] <in.bam>|- NAME\n"
"Leaves the alignments in the virtual address space NAME, which other commands\n"
"call vas:NAME.\n");
    sam_global_opt_help(fp, "-.---@-.");
    return fp == stdout ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int load(const char *from, const char *to, const sam_global_args *ga)
{
    samFile *in = sam_open_format(from, "r", &ga->in), *out = NULL;
    sam_hdr_t *header = NULL;
    int ret = -1;

    if (!in) {
        print_error_errno("vas-load", "failed to open \"%s\"", from);
        return -1;
    }
    if (ga->nthreads > 0) hts_set_threads(in, ga->nthreads);
    if (!(header = sam_hdr_read(in))) {
        print_error("vas-load", "failed to read the header of \"%s\"", from);
    } else if (!(out = sam_open(to, "w"))) {
        print_error_errno("vas-load", "failed to make \"%s\"", to);
    } else if (sam_hdr_write(out, header) < 0) {
        print_error_errno("vas-load", "failed to write the header to \"%s\"", to);
    } else if (sam_vas_load(out, in, header) < 0) {
        print_error("vas-load", "failed to read \"%s\", or it is truncated", from);
    } else {
        ret = 0;
    }
    if (out && sam_close(out) < 0 && ret == 0) {
        print_error_errno("vas-load", "failed to finish \"%s\"", to);
        ret = -1;
    }
    sam_hdr_destroy(header);
    sam_close(in);
    return ret;
}

int main_vas_load(int argc, char *argv[])
{
    sam_global_args ga = SAM_GLOBAL_ARGS_INIT;
    static const struct option lopts[] = {
        SAM_OPT_GLOBAL_OPTIONS('-', 0, '-', '-', '-', '@'),
        {NULL, 0, NULL, 0}
    };
    kstring_t to = KS_INITIALIZE;
    int c, ret;

    while ((c = getopt_long(argc, argv, "@:", lopts, NULL)) >= 0)
        if (parse_sam_global_opt(c, optarg, lopts, &ga) != 0)
            return usage(stderr);
    if (argc - optind != 2)
        return usage(argc == 1 ? stdout : stderr);
    if (strncmp(argv[optind + 1], "vas:", 4) != 0)
        kputs("vas:", &to);
    kputs(argv[optind + 1], &to);
    ret = load(argv[optind], to.s, &ga);
    free(to.s);
    sam_global_args_free(&ga);
    return ret < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
