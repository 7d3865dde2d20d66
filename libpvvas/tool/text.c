// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Names on the terminal and in JSON.  Other users chose them: nothing of a name
 * reaches the terminal that it could take for a command.
 */
#include <stdio.h>

#include "tool.h"

/*
 * The bytes of the UTF-8 character at @s, and its number; 0 and the number of
 * the byte if there is none.
 */
static size_t character(const char *s, unsigned long *code)
{
	static const unsigned long least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *p = (const unsigned char *)s;
	unsigned long sum;
	size_t n, i;

	*code = *p;
	if (*p < 0x80)
		return 1;
	if (*p < 0xc2 || *p > 0xf4)
		return 0;
	n = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
	sum = *p & (0x7fU >> n);
	for (i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		sum = sum << 6 | (p[i] & 0x3f);
	}
	if (sum < least[n] || sum > 0x10ffff || (sum >= 0xd800 && sum < 0xe000))
		return 0;
	*code = sum;
	return n;
}

/* No control character, and no mark that turns a line around. */
static bool is_printable(unsigned long code)
{
	return code >= 0x20 && (code < 0x7f || code >= 0xa0) &&
	       code != 0x61c && code != 0x200e && code != 0x200f &&
	       (code < 0x2028 || code > 0x202e) &&
	       (code < 0x2066 || code > 0x2069);
}

/* Also without the character @not. */
static void print(FILE *to, const char *text, char not)
{
	unsigned long code;
	size_t n;

	while (*text) {
		n = character(text, &code);
		if (n && is_printable(code) && *text != not) {
			fwrite(text, 1, n, to);
			text += n;
		} else {
			fprintf(to, "\\x%02x", (unsigned char)*text++);
		}
	}
}

void tool_print_text(FILE *to, const char *text)
{
	print(to, text, '\0');
}

void tool_print_name(const char *name)
{
	tool_print_text(stdout, *name ? name : "-");
}

void tool_print_word(const char *name)
{
	print(stdout, *name ? name : "-", ' ');
}

void tool_json_string(const char *s)
{
	unsigned long code;
	size_t n;

	putchar('"');
	while (*s) {
		n = character(s, &code);
		if (*s == '"' || *s == '\\')
			putchar('\\');
		if (n && is_printable(code)) {
			fwrite(s, 1, n, stdout);
		} else {
			printf("\\u%04lx", code);
			n += !n;
		}
		s += n;
	}
	putchar('"');
}
