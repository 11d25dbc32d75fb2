# Starts a command line (all arguments but the first) once for each command, and reports how it ended.
# An empty word follows each command. If the command is still there in its place, it was not begun, and
# the exit code belongs to what should have begun it.
exec 3<&0 4>&2 </dev/null 2>/dev/null
exec 5<>"$1" && rm "$1" || exit
shift
: "$GROUPS"  # asked for once, not by each bash that is forked from this one
NUMBER=0
printf '\0' >&4
while :; do
  NUMBER=$((NUMBER + 1))
  "$@" 2>&1 4>&5 5>&-
  CODE=$?
  IFS= read -r -d '' -u 3 UNREAD && [ -z "$UNREAD" ] || exit 125
  [ -s /dev/fd/5 ] || exit "$CODE"
  printf '%s %s\n' "$NUMBER" "$CODE" >&4
done
