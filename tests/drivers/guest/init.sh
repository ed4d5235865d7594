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
mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000 host /root || poweroff -f
mount --move /proc /root/proc
mount --move /sys /root/sys
mount --move /dev /root/dev
mount -t tmpfs run /root/run
mount -t bpf bpf /root/sys/fs/bpf
mkdir /root/run/lock /root/run/netns /root/dev/shm
mount -t tmpfs shm /root/dev/shm
cd /root
chroot /root /usr/bin/env -i @ENVIRONMENT@ @AGENT@ </root/dev/null
echo "the agent ended with status $?"
poweroff -f
