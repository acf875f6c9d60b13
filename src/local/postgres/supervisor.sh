# Runs the command that follows as arguments, and ends it as soon as standard input ends.
#
# Standard input is a pipe whose only writing end belongs to the exporter: however that process dies, the kernel
# closes the pipe, so the server cannot outlive it. The signals are repeated because a server that has only just
# been started does not listen to them yet.
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
trap '' HUP INT TERM
(
    read -r _ <&3
    round=0
    while [ "$round" -lt 260 ] && kill -0 "$server" 2>/dev/null; do
        if [ "$round" -lt 150 ]; then
            kill -INT "$server"
        elif [ "$round" -lt 225 ]; then
            kill -QUIT "$server"
        else
            kill -KILL "$server"
        fi
        round=$((round + 1))
        sleep 0.2
    done
) 2>/dev/null &
watcher=$!
exec 3<&-
wait "$server"
status=$?
kill -KILL "$watcher" 2>/dev/null
exit "$status"
