# SPDX-License-Identifier: GPL-2.0-or-later
# @KERNEL@ is filled in by images/deb-kvm.
s/@KERNELS@/@KERNEL@-amd64 | @KERNEL@-cloud-amd64 | @KERNEL@-rt-amd64/
s/@FOR@/@KERNEL@/
s/@WITHOUT@/keeps its own KVM, without views/
s/@INSTALLED@/KVM with views is installed; it is used when the modules are loaded the next time/
