# SPDX-License-Identifier: GPL-2.0-or-later
# One door to everything; `make help` lists the targets.
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
BUILD ?= $(CURDIR)/build
JOBS ?= $(shell nproc)
INPUT ?=
WORDS ?=
TESTS ?=
TLB ?=
ONLY ?=
REPEAT ?=
BASELINE ?=
SAMPLE ?=
FROM ?=
SEED ?=
export BUILD JOBS TLB
unexport CDPATH

# make splits a name with blanks into two, and so do kernel builds and DKMS
ifneq ($(words x$(CURDIR)) $(words x$(BUILD)),1 1)
$(error the path '$(CURDIR)' or BUILD='$(BUILD)' has blanks in it: use one without)
endif

.DEFAULT_GOAL := help

##@ Start
help: ## this list
	@echo "make TARGET [VARIABLE=value ...]"
	@awk -F ':.*## ' '/^##@ / { print "\n" substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "variables: BUILD=dir JOBS=n EMULATOR=auto|bochs|kvm INPUT=\"file1 file2\" WORDS=\"word ...\" TESTS=\"name ...\" TLB=sticky"

doctor: ## what this machine can do, and why
	@images/doctor

setup: ## install packages, get sources, build everything
	@images/setup/all

demo: ## boot both levels and run the demo on two texts (INPUT, WORDS)
	@images/demo --input "$(INPUT)" --words "$(WORDS)"

##@ Tests
test: setup ## all tests, also those of libvirt; or some: TESTS
ifeq ($(TESTS)$(TLB),)
	@images/setup/all libvirt
	@tests/lint/libvirt
	@tests/run --also libvirt
else
	@tests/run $(TESTS)
endif

test-unit: setup ## only the tests that need no virtual machine
	@tests/run --where unit

test-host: setup ## only the tests of KVM's interface, in the emulated host
	@tests/run --where host

test-flushes: ## each flush of the KVM patches left out in turn: does a test notice (emulator of TLB=sticky)
	@TLB=sticky images/setup/all
	@images/setup/kvm-modules -flushes >$(BUILD)/logs/kvm-modules-flushes.log 2>&1 || \
		{ tail -n 20 $(BUILD)/logs/kvm-modules-flushes.log; exit 1; }
	@tests/flushes/run

test-hooks: setup ## each hook of the KVM patches left out in turn: does a test notice
	@images/setup/kvm-modules -flushes >$(BUILD)/logs/kvm-modules-flushes.log 2>&1 || \
		{ tail -n 20 $(BUILD)/logs/kvm-modules-flushes.log; exit 1; }
	@tests/flushes/hooks

test-same: setup ## exits, hypercalls and instructions of VMs without views: stock and patched modules side by side
	@images/setup/kvm-modules -plain >$(BUILD)/logs/kvm-modules-plain.log 2>&1 || \
		{ tail -n 20 $(BUILD)/logs/kvm-modules-plain.log; exit 1; }
	@tests/same/run

test-guest: setup ## only the tests of driver and library, in the guest
	@tests/run --where guest

test-debug: ## tests on a host, and in a guest, whose kernel checks itself: locks, memory, lists (KASAN, lockdep); takes long
	@KERNEL=debug images/setup/all
	@KERNEL=debug tests/run $(TESTS)

test-selftests: setup ## KVM's own selftests with stock and patched modules: are the results the same
	@images/setup/all selftests
	@tests/selftests/run

test-long: setup ## the tests that take long or need two emulated CPUs
	@images/setup/packages -long >/dev/null
	@images/setup/all tools
	@tests/run --group long $(TESTS)

apps: setup ## Redis, SAMtools and others on address spaces: tests/apps, docs/applications.md
	@tests/apps/build

test-apps: apps ## their tests, and their own suites; or some: TESTS
	@tests/run --group apps $(TESTS)

bench: setup ## benchmarks of everything, in one boot: docs/benchmarks.md (ONLY, REPEAT, BASELINE); ONLY=apps: of the applications
	@ONLY="$(ONLY)" REPEAT="$(REPEAT)" BASELINE="$(BASELINE)" tests/bench/run

test-libvirt: setup ## domains with views under a libvirt daemon, and libvirt's own suites for what the patches change
	@images/setup/all libvirt
	@tests/lint/libvirt
	@tests/run --group libvirt $(TESTS)

test-libvirt-long: setup ## the guest's tests under libvirt, two hosts, CPU modes, address bits, memory and vCPUs plugged in
	@images/setup/all libvirt
	@tests/run --group libvirt-long $(TESTS)

test-compat: setup ## other versions: guest kernel 6.1, stock KVM, QEMU and libvirt, another driver
	@images/setup/all compat
	@tests/compat

##@ Images and packages
images: image-guest image-host ## disk images of a guest and of a host, into build/disk; the second takes what make deb-host makes

image-guest: deb ## disk image of a guest, into build/disk
	@images/setup/packages -disk >/dev/null
	@images/disk/build guest

image-host: deb-kvm deb-host ## disk image of a host, into build/disk
	@images/setup/packages -disk >/dev/null
	@images/disk/build host

test-images: image-guest ## boot the guest's disk image, build it a second time and compare
	@tests/disk guest --twice

test-image-host: image-host ## boot the host's disk image, build it a second time and compare
	@tests/disk host --twice

test-disk-emulated: image-host image-guest ## both disk images in the emulator, the guest's as a domain with views in the host's, under libvirt's usual confinement
	@images/setup/all
	@tests/disk-emulated

test-disk-nested: image-host ## the host's disk image in the emulator, in it the same image as a domain with VMX, in that a domain with views
	@images/setup/all
	@tests/disk-nested

deb-kvm: ## Debian package of the patched KVM for the host, as source for DKMS, into build/deb-kvm
	@images/setup/all packages kernels
	@images/deb-kvm

test-deb-kvm: deb-kvm ## that package in a fresh Debian: built, refused, upgraded, removed, purged; loaded in the emulated host
	@images/deb-kvm +1 >/dev/null
	@images/setup/all
	@tests/deb-kvm

deb-host: ## Debian's qemu and libvirt with the patches, for hosts, into build/deb-host; 20 minutes to an hour, once
	@images/setup/all packages
	@images/deb-host

test-kvm-host: setup ## what a machine with /dev/kvm and VMX does: these commands on the emulated one, nested under its stock KVM
	@tests/kvm-host

test-deb-host: deb-host ## those packages in a fresh Debian: over Debian's own, and back
	@tests/deb-host

test-steps: ## the commands of docs/provider.md and docs/tenant.md as they stand, to the demo under libvirt, then an upgrade; make deb-host first
	@images/setup/all
	@images/setup/packages -disk >/dev/null
	@images/deb +1 >/dev/null
	@images/deb-kvm +1 >/dev/null
	@tests/steps

repo: deb deb-kvm deb-host ## a signed apt repository of all these packages, in build/repo, with a key and a pin file; REPO_KEY
	@images/repo

test-repo: deb deb-kvm ## that repository in a fresh Debian: signature, pin, upgrade
	@images/deb +1 >/dev/null
	@tests/repo

test-repo-host: repo ## an ordinary host is upgraded from it, and no package is removed
	@tests/repo host

repo-check: ## does Debian have newer versions of what the packages in build/repo are made of
	@images/repo --check

test-services: setup ## library and tool in services of a real systemd and in containers, on the software backend
	@tests/services

bench-heap: ## heaps in segments beside malloc, on recorded traces, and a minute of killed processes
	@tests/bench/heap/run

deb: ## Debian packages of library, tools and driver, into build/deb, with lintian
	@images/setup/all packages
	@images/deb

test-deb: deb ## the packages in a fresh Debian: install, a newcomer's two programs, DKMS, upgrade, purge
	@images/setup/all kernels
	@images/deb +1 >/dev/null
	@tests/deb

##@ Checks of the sources
test-sanitize: setup ## the unit tests and the software backend under ASan and UBSan, the unit tests under valgrind
	@tests/sanitize

mutate: $(if $(filter driver,$(ONLY)),setup) ## plausible mistakes, one at a time: do the tests notice (ONLY="library tool" or driver or files, SAMPLE, SEED)
	@images/setup/packages -mutate >/dev/null
	@ONLY="$(ONLY)" SAMPLE="$(SAMPLE)" SEED="$(SEED)" tests/mutate/run

coverage: ## lines of library and tool that the unit rows reach; ALL=yes: those that nothing reaches
	@tests/coverage

check-lib: setup ## the library: exported symbols, headers alone as C and C++, manual pages
	@$(MAKE) -s -C libpvvas O=$(BUILD)/libpvvas check

check: check-lib test-sanitize check-docs check-runner check-folders checkpatch check-patches check-sparse check-driver-builds shellcheck ## all checks of the sources

checkpatch: ## coding style of all C files and patches
	@images/setup/all kernels
	@tests/lint/checkpatch

check-patches: ## do the patch series apply, and does each KVM patch build
	@images/setup/all kernels
	@tests/lint/patches

check-patches-13: ## do the series for Debian 13 apply to its sources and build there, does libvirt's suite pass; 6 GB, once
	@images/setup/all packages
	@tests/lint/patches-13

check-driver-builds: ## the guest driver against the headers of every flavour of 6.12, of 6.1, and of Debian 13's newest backport
	@tests/lint/driver-builds

check-sparse: ## the KVM side with W=1 and sparse
	@images/setup/all packages kernels
	@tests/lint/sparse

check-model: ## the Spin models of view invalidation and of segments' locks, and that they notice what is left out
	@tests/model/check

check-runner: ## does the test runner call a failure a failure
	@tests/lint/runner

check-folders: ## what make clean deletes; scripts under paths with blanks, with CDPATH, beside each other, without apt; a damaged cache
	@tests/lint/folders

check-commits: ## titles and bodies of the commits since the last tag (FROM)
	@FROM="$(FROM)" tests/lint/commits

check-docs: ## figures, links, targets and tests that the documents name
	@tests/lint/docs

shellcheck: ## the shell scripts
	@tests/lint/shell

##@ Clean
# only what setup has marked as a build folder is deleted
ours = [ -e "$(BUILD)" ] || exit 0; [ -e "$(BUILD)/.pvvas-build" ] || \
	{ echo "$(BUILD) has no file .pvvas-build, so this project has not made it: nothing is deleted"; exit 1; }

clean: ## remove what the project's own sources produced, keep downloads and tools
	@$(ours); cd "$(BUILD)" && rm -rf boot test demo images guest-root host-root libpvvas tests \
		guest-kernel{,-inject}{,-debug} pvvas{,-inject}{,-debug}.ko {userland,guest-kernel,guest-kernel-debug}.stamp \
		linux-6.12/{src,kvm-modules}{,-debug,-flushes} qemu-7.2/.stamp

distclean: ## remove build/ (the download cache in ~/.cache/pvvas stays)
	@$(ours); rm -rf --one-file-system "$(BUILD)"

# every target that help lists
.PHONY: $(shell awk -F: '/^[a-z0-9-]+:.*\#\# / { print $$1 }' $(firstword $(MAKEFILE_LIST)))
