#!/bin/busybox sh
# The guest's first process: load the drivers, take the host's root, run the agent in it, and switch the machine off.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do
  insmod "$module" || echo "cannot load $module"
done
mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000 host /host || poweroff -f
mount --move /proc /host/proc
mount --move /sys /host/sys
mount --move /dev /host/dev
mount -t tmpfs run /host/run
mount -t bpf bpf /host/sys/fs/bpf
mkdir /host/run/lock /host/run/netns /host/dev/shm
mount -t tmpfs shm /host/dev/shm
cd /host
chroot /host /usr/bin/env -i @ENVIRONMENT@ @AGENT@ </host/dev/null
echo "the agent ended with status $?"
poweroff -f
