# SPDX-License-Identifier: LGPL-2.1-or-later
# What perl is recorded at: counts words, keeps lines, cuts the words up.
use strict;
use warnings;

my (%count, %lines);
for my $file (@ARGV) {
	open my $in, '<', $file or next;
	while (<$in>) {
		$count{lc $_}++ for /\w+/g;
		push @{$lines{length $_}}, $_;
	}
}
my @words = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
%lines = ();
my %letters = map { $_ => [split //] } @words;
print scalar(keys %letters), " words\n";
