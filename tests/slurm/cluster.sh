#!/usr/bin/env bash
# A Slurm cluster on this machine, for tests: munge, slurmctld and several slurmd, without systemd or cgroups.
#
#   tests/slurm/cluster.sh up|down|is-up|env      needs root; up again with other settings applies them
#   tests/slurm/install.sh                        installs what it needs
#
# Settings, by environment: SLURM_TEST_ROOT (folder), NODES, GPUS a node, CPUS a node, MEMORY_MB a node,
# PORTS (the first of those it listens on), ACCOUNTING=none|slurmdbd, CONTROLLER_PARAMETERS, GRACE_S (of a preemption), MAX_ARRAY_SIZE.
set -euo pipefail
ROOT=${SLURM_TEST_ROOT:-/tmp/webshop-rl-slurm}
NODES=${NODES:-3} GPUS=${GPUS:-2} CPUS=${CPUS:-16} MEMORY_MB=${MEMORY_MB:-32000}
ACCOUNTING=${ACCOUNTING:-none} PORTS=${PORTS:-26800}
CONTROLLER_PORT=$PORTS DBD_PORT=$((PORTS + 1)) DATABASE_PORT=$((PORTS + 2)) NODE_PORT=$((PORTS + 10))
export SLURM_CONF=$ROOT/etc/slurm.conf
HOST=$(hostname -s)

alive() { [ -r "/proc/$1/stat" ] && ! grep -q '^[0-9]* (.*) Z' "/proc/$1/stat"; }
running() { [ -f "$1" ] && alive "$(cat "$1")"; }
wait_for() {
  for _ in $(seq 150); do "$@" >/dev/null 2>&1 && return 0; sleep 0.2; done
  echo "gave up waiting for: $*" >&2; return 1
}

start_munge() {
  munge -n >/dev/null 2>&1 && return
  install -d -o munge -g munge -m 755 /run/munge
  install -d -o munge -g munge -m 700 /var/log/munge /var/lib/munge
  [ -s /etc/munge/munge.key ] || runuser -u munge -- mungekey --create
  runuser -u munge -- munged --num-threads=2 || true  # perhaps another cluster has just started it
  wait_for munge -n
}

write_configuration() {
  mkdir -p "$ROOT"/{etc,log,run,state,dev}
  chmod 755 "$ROOT" "$ROOT"/*
  # Slurm takes links to a character device for GPUs, if they are called ...N, and then sets CUDA_VISIBLE_DEVICES.
  for gpu in $(seq 0 $((GPUS - 1))); do ln -sfn /dev/null "$ROOT/dev/nvidia$gpu"; done
  echo "NodeName=n[1-$NODES] Name=gpu File=$ROOT/dev/nvidia[0-$((GPUS - 1))]" > "$ROOT/etc/gres.conf"
  # Job ids that start at 1 again after the folder was wiped would meet files of former jobs.
  [ -s "$ROOT/etc/first_job" ] || echo $(($(shuf -i 1-6000 -n1) * 10000)) > "$ROOT/etc/first_job"
  {
    cat <<CONF
ClusterName=webshop
FirstJobId=$(cat "$ROOT/etc/first_job")
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$CONTROLLER_PORT
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
CredType=cred/munge
StateSaveLocation=$ROOT/state
SlurmdSpoolDir=$ROOT/run/spool.%n
SlurmctldPidFile=$ROOT/run/slurmctld.pid
SlurmdPidFile=$ROOT/run/slurmd.%n.pid
SlurmctldLogFile=$ROOT/log/slurmctld.log
SlurmdLogFile=$ROOT/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=1,bf_interval=2,sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=256
GresTypes=gpu
JobRequeue=1
MaxArraySize=${MAX_ARRAY_SIZE:-1001}
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MinJobAge=300
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=${CONTROLLER_PARAMETERS:-preempt_send_user_signal}
SlurmdParameters=config_overrides
CONF
    if [ "$ACCOUNTING" = slurmdbd ]; then cat <<CONF
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$DBD_PORT
AccountingStorageTRES=gres/gpu
JobAcctGatherType=jobacct_gather/linux
CONF
    else echo "AccountingStorageType=accounting_storage/none"; fi
    for n in $(seq "$NODES"); do
      echo "NodeName=n$n NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((NODE_PORT + n)) CPUs=$CPUS RealMemory=$MEMORY_MB Gres=gpu:$GPUS State=UNKNOWN"
    done
    cat <<CONF
PartitionName=low  Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=${GRACE_S:-20}
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
CONF
  } > "$SLURM_CONF.new"
}

make_database() {  # aside, so that what was cut off half-way is made again
  rm -rf "$ROOT/db.new"
  install -d -o mysql -g mysql -m 700 "$ROOT/db.new"
  mariadb-install-db --no-defaults --user=mysql --datadir="$ROOT/db.new" --tmpdir="$ROOT/run/db_tmp" --skip-test-db \
    >"$ROOT/log/db_install.log" 2>&1 || { tail -n 20 "$ROOT/log/db_install.log" >&2; return 1; }
  mv "$ROOT/db.new" "$ROOT/db"
}

start_accounting() {
  if ! running "$ROOT/run/mariadb.pid"; then
    # A database server deletes temporary tables of others in its tmpdir when it starts.
    install -d -o mysql -g mysql -m 700 "$ROOT/run/db_tmp"
    [ -d "$ROOT/db" ] || make_database
    install -d -o mysql -g mysql "$ROOT/run/db"
    setsid mariadbd --no-defaults --user=mysql --datadir="$ROOT/db" --socket="$ROOT/run/db/sock" --tmpdir="$ROOT/run/db_tmp" \
      --port="$DATABASE_PORT" --bind-address=127.0.0.1 --pid-file="$ROOT/run/db/pid" \
      --innodb-buffer-pool-size=64M --innodb-log-file-size=16M --performance-schema=off \
      >"$ROOT/log/mariadb.log" 2>&1 </dev/null &
    echo $! > "$ROOT/run/mariadb.pid"
    local sql=(mariadb --no-defaults -S "$ROOT/run/db/sock" -e)
    wait_for "${sql[@]}" 'select 1'
    "${sql[@]}" "create database if not exists slurm_acct_db;
      create user if not exists slurm@'127.0.0.1' identified by 'slurm';
      create user if not exists slurm@localhost identified by 'slurm';
      grant all on slurm_acct_db.* to slurm@'127.0.0.1'; grant all on slurm_acct_db.* to slurm@localhost;"
  fi
  cat > "$ROOT/etc/slurmdbd.conf" <<CONF
AuthType=auth/munge
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$DBD_PORT
SlurmUser=root
LogFile=$ROOT/log/slurmdbd.log
PidFile=$ROOT/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$DATABASE_PORT
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CONF
  chmod 600 "$ROOT/etc/slurmdbd.conf"
  running "$ROOT/run/slurmdbd.pid" || slurmdbd
  wait_for sacctmgr -n list cluster
  sacctmgr -n list cluster | grep -q webshop && return
  sacctmgr -i add cluster webshop >/dev/null
  sacctmgr -i add account lab cluster=webshop >/dev/null
  sacctmgr -i add qos urgent >/dev/null
  sacctmgr -i add user "$(id -un)" account=lab qos=normal,urgent >/dev/null
}

stop() {  # the daemons whose pid files are given
  for file in "$@"; do
    [ -f "$file" ] || continue
    pid=$(cat "$file"); kill "$pid" 2>/dev/null || true
    for _ in $(seq 100); do alive "$pid" || break; sleep 0.1; done
    ! alive "$pid" || kill -9 "$pid"
    rm -f "$file"
  done
}

up() {
  start_munge
  write_configuration
  if ! cmp -s "$SLURM_CONF.new" "$SLURM_CONF"; then
    stop "$ROOT"/run/slurmctld.pid "$ROOT"/run/slurmd.*.pid
    mv "$SLURM_CONF.new" "$SLURM_CONF"
  fi
  [ "$ACCOUNTING" != slurmdbd ] || start_accounting
  # Node names must resolve: a run of several processes meets at the name of its first node.
  for n in $(seq "$NODES"); do getent hosts "n$n" >/dev/null || echo "127.0.0.1 n$n" >> /etc/hosts; done
  running "$ROOT/run/slurmctld.pid" || slurmctld
  for n in $(seq "$NODES"); do running "$ROOT/run/slurmd.n$n.pid" || slurmd -N "n$n"; done
  wait_for sh -c "[ \$(sinfo -hN -p low -t idle,mix,alloc | wc -l) -ge $NODES ]"
}

down() {
  [ -f "$SLURM_CONF" ] || return 0
  timeout 10 scancel -u "$(id -un)" 2>/dev/null || true
  sleep 1
  stop "$ROOT"/run/slurmd.*.pid "$ROOT"/run/slurmctld.pid "$ROOT"/run/slurmdbd.pid "$ROOT"/run/mariadb.pid
  # Processes of jobs whose node was made to crash.
  for file in $(grep -lszx "SLURM_CONF=$SLURM_CONF" /proc/[0-9]*/environ | xargs -r grep -lsz '^SLURM_JOB_ID='); do
    pid=${file#/proc/}; kill -9 "${pid%/environ}" 2>/dev/null || true
  done
  rm -rf "$ROOT"
}

case "${1:-}" in
  up) up; sinfo -N -o '%N %T %c %m %G' ;;
  down) down ;;
  is-up) running "$ROOT/run/slurmctld.pid" ;;
  env) echo "export SLURM_CONF=$SLURM_CONF" ;;
  *) sed -n 2,8p "$0"; exit 2 ;;
esac
