#!/bin/sh
# Runs in the root filesystem of the node image: what images/base/Dockerfile of kind does after it has copied its files.
set -eu

# units that make no sense in a container, or that touch the kernel of the machine
rm -f /lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service \
  /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
  /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/sockets.target.wants/*udev* \
  /lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/*
echo ReadKMsg=no >>/etc/systemd/journald.conf
ln -sf /usr/lib/systemd/systemd /sbin/init
systemctl enable kubelet.service containerd.service undo-mount-hacks.service
systemctl mask systemd-binfmt.service

# Debian's network plugins where kind's containerd looks for them
mkdir -p /etc/kubernetes/manifests /opt/cni/bin
cp /usr/lib/cni/ptp /usr/lib/cni/loopback /usr/lib/cni/host-local /usr/lib/cni/portmap /opt/cni/bin/

# the volumes of default-storage.yaml
for number in 1 2 3 4 5 6; do
  mkdir -p "/var/local/volumes/$number"
  chmod 0777 "/var/local/volumes/$number"
done

# the kubelet refuses cgroup v1 from Kubernetes 1.35 on; the flag changes nothing on cgroup v2
sed -i 's#^KUBELET_EXTRA_ARGS=.*#& --fail-cgroupv1=false#' /etc/default/kubelet
# where CAP_SYS_RESOURCE is missing nobody may lower oom_score_adj: containerd clamps it then
sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml
ctr oci spec |
  jq '.hooks.createContainer[.hooks.createContainer|length] |= . + {"path": "/kind/bin/mount-product-files.sh"}
      | del(.process.rlimits)' >/etc/containerd/cri-base.json
