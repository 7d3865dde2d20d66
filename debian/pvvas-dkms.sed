# SPDX-License-Identifier: GPL-2.0-or-later
s/@KERNELS@/6.1.* | 6.12.*/
s/@FOR@/Debian's kernels 6.1 and 6.12/
s/@WITHOUT@/has no driver, and programs take the slower software backend/
s/@INSTALLED@/the driver is installed (modprobe pvvas)/
