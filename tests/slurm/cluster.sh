#!/usr/bin/env bash
# A real SLURM on this machine (Debian's slurm-wlm), without accounting, as root: nodes n1 to n4 of one core each;
# partitions main, pair (n1 and n2), urgent (which preempts jobs of the other two), and blind: n5, a node that does not
# see the folder $PATCH_SLURM_STATE/hidden (there where mounts can be private).
#   cluster.sh start   install what is missing, start munged, slurmctld and the slurmd; prints the path of slurm.conf
#   cluster.sh stop    end the daemons that it started (by their pid files), and nothing else
# Status 3: it cannot be had here; the last line says why.
set -euo pipefail
state=${PATCH_SLURM_STATE:-/tmp/patch-slurm}
conf=$state/slurm.conf

cannot() { echo "no SLURM here: $*"; exit 3; }

stop() {
  for name in n1 n2 n3 n4 n5 slurmctld munged; do
    local pid=$state/$name.pid
    [ -f "$pid" ] && kill "$(cat "$pid")" 2>/dev/null || true
    rm -f "$pid"
  done
}

if [ "${1:-}" = stop ]; then stop; exit 0; fi
[ "${1:-}" = start ] || { echo "usage: cluster.sh start|stop" >&2; exit 2; }
[ "$(id -u)" = 0 ] || cannot "its daemons need root"
if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
  command -v apt-get >/dev/null || cannot "slurmctld is not installed, and there is no apt-get"
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends slurm-wlm munge
  } >/dev/null 2>&1 || cannot "the Debian packages slurm-wlm and munge cannot be installed"
fi

stop
rm -rf "$state"
mkdir -p "$state"/{ctl,hidden,n1,n2,n3,n4,n5}
mkdir -p /run/munge
chown munge: /run/munge
host=$(hostname -s)
memory=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
cat >"$conf" <<C
ClusterName=local
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=17000
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmUser=root
StateSaveLocation=$state/ctl
SlurmdSpoolDir=$state/%n
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/%n.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/%n.log
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2
ReturnToService=2
MailProg=/bin/true
KillWait=10
JobRequeue=1
PreemptMode=REQUEUE
PreemptType=preempt/partition_prio
$(for i in 1 2 3 4 5; do echo "NodeName=n$i NodeHostname=$host NodeAddr=127.0.0.1 Port=1700$i CPUs=1 RealMemory=$memory"; done)
PartitionName=main Nodes=n[1-4] Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=pair Nodes=n[1-2] MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=blind Nodes=n5 MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=urgent Nodes=n[1-4] MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=OFF
C
export SLURM_CONF=$conf

if ! munge -n >/dev/null 2>&1; then
  [ -f /etc/munge/munge.key ] || { dd if=/dev/urandom of=/etc/munge/munge.key bs=1 count=1024 status=none
    chown munge: /etc/munge/munge.key; chmod 400 /etc/munge/munge.key; }
  su -s /bin/sh munge -c munged >/dev/null 2>&1 || cannot "munged does not start"
  cp /run/munge/munged.pid "$state"
fi
slurmctld -f "$conf"
for node in n1 n2 n3 n4; do slurmd -f "$conf" -N "$node"; done
unshare -m sh -c "mount -t tmpfs none '$state/hidden' && exec slurmd -f '$conf' -N n5" 2>/dev/null || true
for _ in $(seq 60); do
  if [ "$(sinfo --noheader --partition main --format %T 2>/dev/null | sort -u)" = idle ]; then echo "$conf"; exit 0; fi
  sleep 0.5
done
tail -n 5 "$state"/*.log >&2
stop
cannot "idle nodes did not appear in 30 s; its logs are in $state"
