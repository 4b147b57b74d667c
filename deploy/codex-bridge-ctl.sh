#!/bin/sh
# Run one codex-bridge in the background.
#
#   codex-bridge-ctl.sh start [options]      start; the options are those of codex-bridge
#   codex-bridge-ctl.sh stop                 let it end, within 35 s
#   codex-bridge-ctl.sh restart [options]    without options: those of the last start
#   codex-bridge-ctl.sh status               is the process there?
#   codex-bridge-ctl.sh health               can it serve? The JSON of its /__health
#   codex-bridge-ctl.sh logs [-f]            the last lines of the log; -f follows it
#
# Exit codes: 0 ok, 1 failed, 3 not running (status and health).
#
# Environment:
#   CODEX_BRIDGE_STATE_DIR   pid file and log (default: ~/.local/state/codex-bridge);
#                            one directory for each bridge that runs at the same time
#   CODEX_BRIDGE_VENV        virtualenv of the bridge (default: the one that this script is
#                            in or beside, else the twistd on PATH)
#   CODEX_BRIDGE_PORT, CODEX_BRIDGE_UPSTREAM_URL and so on: the options, read at every start

set -u

START_PATIENCE=20
STOP_PATIENCE=35

say() {
    printf 'codex-bridge: %s\n' "$*"
}

fail() {
    say "$@" >&2
    exit 1
}

usage() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$self"
}

now() {
    date +%s
}

# --- where things are -------------------------------------------------------------------

self=$(readlink -f "$0") || exit 1
here=$(dirname "$self")

wanted=${CODEX_BRIDGE_STATE_DIR:-${XDG_STATE_HOME:-${HOME:-}/.local/state}/codex-bridge}

locate_state() {
    # The same path has to give the same text every time, because is_ours compares it.
    state=$(cd -P -- "$wanted" 2>/dev/null && pwd -P) || state=$wanted
    pidfile=$state/codex-bridge.pid
    log=$state/codex-bridge.log
    arguments=$state/arguments
    url_file=$state/url
}

make_state() {
    # Before the cd below, which would change the meaning of relative paths.
    locate_twistd
    umask 077
    mkdir -p -- "$wanted" 2>/dev/null
    if [ ! -w "$wanted" ] || [ ! -x "$wanted" ]; then
        fail "cannot write to $wanted; name another directory in CODEX_BRIDGE_STATE_DIR"
    fi
    locate_state
    # The daemon stays in this directory, and Python looks for modules there.
    cd -- "$state" || exit 1
}

locate_twistd() {
    if [ -n "${CODEX_BRIDGE_VENV:-}" ]; then
        twistd=$CODEX_BRIDGE_VENV/bin/twistd
        [ -x "$twistd" ] || fail "no twistd in CODEX_BRIDGE_VENV: $twistd"
    elif [ -x "$here/twistd" ]; then
        twistd=$here/twistd
    elif [ -x "$here/../.venv/bin/twistd" ]; then
        twistd=$here/../.venv/bin/twistd
    elif [ -x "$here/../venv/bin/twistd" ]; then
        twistd=$here/../venv/bin/twistd
    else
        twistd=$(command -v twistd) ||
            fail "cannot find twistd; name the virtualenv of the bridge in CODEX_BRIDGE_VENV"
    fi
    case $twistd in
        /*) ;;
        *) twistd=$PWD/$twistd ;;
    esac
    # Its first line names the interpreter, unless the path is too long for such a line.
    python=$(sed -n '1s/^#! *\(.*python[0-9.]*\)$/\1/p' "$twistd")
    [ -x "$python" ] || python=${twistd%/*}/python3
}

# --- the process ------------------------------------------------------------------------

command_of() {
    if [ -r "/proc/$1/cmdline" ]; then
        tr '\0' ' ' <"/proc/$1/cmdline"
    else
        ps -ww -p "$1" -o args=
    fi 2>/dev/null
}

# Whether process $1 is the bridge of this state directory. The system gives old pids to new
# processes, so the command line decides.
is_ours() {
    case $(command_of "$1") in
        *"--pidfile=$pidfile"*) return 0 ;;
        *) return 1 ;;
    esac
}

# Whether the bridge runs; sets pid. Removes a pid file that a killed bridge left behind.
is_running() {
    pid=
    [ -e "$pidfile" ] || return 1
    [ -r "$pidfile" ] || fail "cannot read $pidfile; it belongs to another user"
    read -r pid <"$pidfile"
    case $pid in
        '' | *[!0-9]*) reason="there is no pid in it" ;;
        *)
            is_ours "$pid" && return 0
            reason="pid $pid is gone, or belongs to another program"
            ;;
    esac
    rm -f -- "$pidfile" 2>/dev/null && say "removed a stale pid file: $reason" >&2
    return 1
}

# Wait up to $2 seconds for process $1 to end.
wait_for_end() {
    deadline=$(($(now) + $2))
    while is_ours "$1"; do
        [ "$(now)" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}

# --- what it says -----------------------------------------------------------------------

# Print the body of GET $1. Returns 0 for status 200, 1 for any other, 2 if nothing answers.
fetch() {
    [ -n "${python:-}" ] || locate_twistd
    "$python" -c '
import sys, urllib.error, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    answer = opener.open(sys.argv[1], timeout=5)
except urllib.error.HTTPError as error:
    answer = error
except Exception:
    sys.exit(2)
print(answer.read().decode().strip())
sys.exit(answer.status != 200)' "$1"
}

# The base URL of the running bridge, which start() wrote to a file.
url() {
    cat "$url_file" 2>/dev/null || echo "an unknown address"
}

# The base URL for the options $@ and the environment, as the bridge itself reads them.
url_of() {
    "$python" -c '
import sys
sys.argv[0] = "codex-bridge-ctl.sh start"
try:
    from codex_bridge.options import Options
except ImportError as error:
    sys.exit(f"codex-bridge: not installed for {sys.executable} ({error})")
options = Options()
options.parseOptions(sys.argv[1:])
settings = options.settings
if settings.port == 0 and settings.quiet:
    sys.exit("codex-bridge: with --port 0 only the log tells the port; leave out --quiet")
host = settings.interface
host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
host = f"[{host}]" if ":" in host else host
print(f"http://{host}:{settings.port}")' "$@"
}

# The last line of the log that says where a bridge listens; empty if there is none.
logged() {
    grep 'codex-bridge .* listens on http:' "$log" 2>/dev/null | tail -n 1
}

# --- commands ---------------------------------------------------------------------------

check_options() {
    for argument in "$@"; do
        case $argument in
            *"
"*) fail "an option with a line break in it: $argument" ;;
        esac
    done
    new_url=$(url_of "$@") || exit 1
    case $new_url in
        http:*) ;;
        *) # --help or --version
            printf '%s\n' "$new_url"
            exit 0
            ;;
    esac
}

start() {
    before=$(logged)
    output=$("$twistd" --pidfile="$pidfile" --logfile="$log" codex-bridge "$@" 2>&1 </dev/null) || {
        printf '%s\n' "${output:-codex-bridge: twistd failed and printed nothing; see $log}" >&2
        exit 1
    }
    : >"$arguments"
    [ $# -eq 0 ] || printf '%s\n' "$@" >"$arguments"
    printf '%s\n' "$new_url" >"$url_file"

    deadline=$(($(now) + START_PATIENCE))
    while is_running; do
        case $new_url in
            *:0) learn_port ;;
            *)
                fetch "$new_url/__health" >/dev/null
                case $? in
                    0)
                        say "started (pid $pid) at $new_url"
                        return
                        ;;
                    1)
                        say "started (pid $pid) at $new_url, but cannot serve yet; see: health"
                        return
                        ;;
                esac
                ;;
        esac
        [ "$(now)" -lt "$deadline" ] ||
            fail "runs (pid $pid) but gave no answer at $new_url within $START_PATIENCE s; see $log"
        sleep 0.2
    done
    tail -n 5 "$log" >&2
    fail "ended right after its start; the lines above are from $log"
}

# With --port 0 only the log tells the port.
learn_port() {
    line=$(logged)
    [ "$line" != "$before" ] || return 0
    new_url=${new_url%:0}:$(printf '%s\n' "$line" | sed 's/.* listens on [^ ]*:\([0-9]*\),.*/\1/')
    printf '%s\n' "$new_url" >"$url_file"
}

stop() {
    is_running || {
        say "not running"
        return
    }
    ending=$pid
    kill -TERM "$ending" || fail "cannot stop pid $ending"
    wait_for_end "$ending" "$STOP_PATIENCE" || {
        say "pid $ending did not end within $STOP_PATIENCE s; sending SIGKILL" >&2
        kill -KILL "$ending" || fail "cannot kill pid $ending"
        wait_for_end "$ending" 5 || fail "pid $ending is still there"
        rm -f -- "$pidfile"
    }
    say "stopped (pid $ending)"
}

# Sets body to the answer of /__health, and returns whether the bridge can serve. Ends the script
# if there is no answer.
ask_health() {
    body=$(fetch "$(url)/__health")
    case $? in
        0) ;;
        1) return 1 ;;
        *) fail "pid $pid is there, but gives no answer at $(url); see: logs" ;;
    esac
}

status() {
    is_running || {
        say "not running"
        exit 3
    }
    if ask_health; then
        say "running (pid $pid) at $(url)"
    else
        say "running (pid $pid) at $(url), but cannot serve; see: health"
    fi
}

health() {
    is_running || {
        say "not running" >&2
        exit 3
    }
    ask_health
    code=$?
    printf '%s\n' "$body"
    exit "$code"
}

logs() {
    [ -r "$log" ] || fail "no log to read at $log"
    case ${1:-} in
        -f) exec tail -n 20 -F -- "$log" ;;
        '') exec tail -n 100 -- "$log" ;;
        *) fail "logs takes no option but -f" ;;
    esac
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
    start)
        make_state
        if is_running; then
            say "already running (pid $pid) at $(url)"
            [ $# -eq 0 ] || say "the options given now have no effect; restart applies them"
            exit 0
        fi
        check_options "$@"
        start "$@"
        ;;
    restart)
        make_state
        if [ $# -eq 0 ] && [ -r "$arguments" ]; then
            while IFS= read -r argument; do
                set -- "$@" "$argument"
            done <"$arguments"
        fi
        # Before the old one is stopped: a mistake in the options must not end a running bridge.
        check_options "$@"
        stop
        start "$@"
        ;;
    stop | status | health)
        [ $# -eq 0 ] || fail "$command takes no options"
        locate_state
        "$command"
        ;;
    logs)
        locate_state
        logs "$@"
        ;;
    help | -h | --help)
        usage
        ;;
    *)
        usage >&2
        exit 1
        ;;
esac
