# Evaluates one command in the shell that was kept, and keeps the shell for the next. The first line
# must name no interpreter: see driver.py.
#
# What is evaluated ahead of the command are values only. Then nothing but `builtin` is called whose
# name a function may have: nothing stands in for an assignment, nor for `exit`, `set` and `unset`
# while POSIXLY_CORRECT is set; so a function called `builtin` can be taken away, and what is called
# by it from then on is what it says. Traps and traces are off before anything is saved: what they
# print would be evaluated. What bash makes anew is left out, since reading it costs more than all
# else. Options, and with them aliases, count from the command on; all are off before, while IFS is
# still what splits them, and so are those that POSIXLY_CORRECT turned on. The command is read last:
# what ends this bash before has left its command unread, which the keeper sees.
{
  {
    IFS= read -r -d '' AGENTLM_VALUES
    IFS= read -r -d '' AGENTLM_RULES
  } </dev/fd/4
  : >/dev/fd/4
  BASH_ARGV0=bash
  eval "unset AGENTLM_VALUES
    $AGENTLM_VALUES" 2>/dev/null 3<&- 4>&-
  set --
  eval "unset AGENTLM_RULES
    $AGENTLM_RULES" 2>/dev/null 3<&- 4>&-
  {
    builtin mapfile -t -d '' -n 1 -u 3 AGENTLM_COMMAND
    POSIXLY_CORRECT=
    [[ ${AGENTLM_COMMAND+read} ]] || exit
    exec 3<&-
    unset -v POSIXLY_CORRECT
    builtin shopt -u inherit_errexit interactive_comments sourcepath
    builtin eval "${AGENTLM_OPTIONS-builtin shopt -s interactive_comments sourcepath}"
    [[ ${AGENTLM_CODE:-0} == 0 ]] || { (builtin exit "$AGENTLM_CODE") && :; }
  } 2>/dev/null
  builtin eval "$AGENTLM_COMMAND" 4>&-
  {
    AGENTLM_CODE=$?
    AGENTLM_OPTIONS="builtin shopt -s ${BASHOPTS//:/ }; builtin shopt -so ${SHELLOPTS//:/ }"
    POSIXLY_CORRECT=
    set -- "$AGENTLM_CODE" "$AGENTLM_OPTIONS"
    unset -f builtin || exit "$1"
    builtin trap - DEBUG ERR RETURN \
      0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 \
      33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64
    builtin set +ex
    unset -n AGENTLM_CODE AGENTLM_OPTIONS AGENTLM_COMMAND AGENTLM_VALUES AGENTLM_RULES
    unset -v AGENTLM_CODE AGENTLM_OPTIONS AGENTLM_COMMAND AGENTLM_VALUES AGENTLM_RULES &&
      unset -v POSIXLY_CORRECT || exit "$1"
    builtin unset -v BASH BASHPID BASH_ARGC BASH_ARGV BASH_ARGV0 BASH_CMDS BASH_COMMAND \
      BASH_LINENO BASH_LOADABLES_PATH BASH_SOURCE BASH_SUBSHELL BASH_VERSION COMP_WORDBREAKS \
      DIRSTACK EPOCHREALTIME EPOCHSECONDS FUNCNAME GROUPS HISTCMD HOSTTYPE LINENO MACHTYPE \
      OSTYPE PIPESTATUS SRANDOM _
    {
      builtin echo 'shopt -u ${BASHOPTS//:/ }; shopt -uo ${SHELLOPTS//:/ }' &&
        builtin printf 'cd -- %q\n' "$PWD" && builtin declare -p && builtin umask -p &&
        builtin printf '\0shopt -s extglob\n' &&
        builtin declare -f && builtin declare -Fx && builtin alias -p &&
        builtin echo "builtin shopt -u extglob; AGENTLM_CODE=$1 AGENTLM_OPTIONS='$2'"
    } >|/dev/fd/4 || : >|/dev/fd/4
    builtin exit "$1"
  } 2>/dev/null
}
