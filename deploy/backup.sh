#!/bin/sh
# Copies a checkpoint of a lake to another place, also while an engine runs on it.
#
#   deploy/backup.sh LAKE COPY      each a folder, or s3://bucket/prefix; COPY must not be there yet
#
# The checkpoint is pinned meanwhile, so that the engine removes none of its files. What is copied is a whole lake with that one checkpoint:
# it can be asked, verified, and gone on with. Needs millrace, which must be able to write to LAKE (the pin), tar for folders, and aws for S3.
# MILLRACE is the program, HOLD how long the copy may take (1d), AWS how aws is called.
set -eu

if [ $# -ne 2 ]; then
    echo "usage: $0 LAKE COPY" >&2
    exit 2
fi
lake=${1%/} copy=${2%/}
millrace=${MILLRACE:-millrace}
aws=${AWS:-aws}
pin=backup-$(date -u +%Y%m%dT%H%M%SZ)-$$
list=$(mktemp)

fail() {
    echo "$0: $*" >&2
    exit 1
}

case $copy in
s3://*) [ -z "$($aws s3 ls "$copy/" | head -n 1)" ] || fail "$copy is there already" ;;
*) [ ! -e "$copy" ] || fail "$copy is there already" ;;
esac

trap 'rm -f "$list"' EXIT
"$millrace" lake files --data-dir "$lake" --pin "$pin" --for "${HOLD:-1d}" --format csv >"$list"
trap 'rm -f "$list"; "$millrace" lake unpin "$pin" --data-dir "$lake"' EXIT
trap 'exit 1' HUP INT TERM

number=$("$millrace" lake pins --data-dir "$lake" --format csv | awk -F, -v pin="$pin" '$1 == pin { print $4 }')
[ -n "$number" ] || fail "the pin $pin is not among those of $lake"
manifest=_manifests/$(printf %012d "$number").json

# Other checkpoints come and go meanwhile: their manifests are left behind, and with them what says how many there have to be.
case $lake$copy in
*s3://*)
    # shellcheck disable=SC2086  # AWS may have options
    $aws s3 sync --only-show-errors "$lake" "$copy" \
        --exclude '_manifests/*.json' --include '_manifests/catalogs/*' --exclude _trail.json --exclude '_pins/*' --exclude '_tmp/*'
    # shellcheck disable=SC2086
    $aws s3 cp --only-show-errors "$lake/$manifest" "$copy/$manifest"
    ;;
*)
    mkdir -p "$copy"
    # Files of other checkpoints may go while they are read: whether those of this one are whole is looked at below.
    tar -C "$lake" --ignore-failed-read --warning=no-file-changed --warning=no-file-removed --no-wildcards-match-slash \
        --exclude='./_manifests/*.json' --exclude=./_trail.json --exclude=./_pins --exclude=./_tmp -cf - . \
        | tar -C "$copy" -xf -
    # The manifest last: before it is there, it is no lake.
    mkdir -p "$copy/_manifests"
    cp "$lake/$manifest" "$copy/$manifest"
    ;;
esac

# Every file that the checkpoint names, with its size.
"$millrace" lake files --data-dir "$copy" --format csv >"$list.copy"
trap 'rm -f "$list" "$list.copy"; "$millrace" lake unpin "$pin" --data-dir "$lake"' EXIT
bare() { sed "s|$2/||" "$1" | sort; }
bare "$list" "$lake" >"$list.a"
bare "$list.copy" "$copy" >"$list.b"
cmp -s "$list.a" "$list.b" || { rm -f "$list.a" "$list.b"; fail "$copy does not name the files that $lake names"; }
rm -f "$list.a" "$list.b"
case $copy in
s3://*)
    $aws s3 ls --recursive "$copy/" | awk '{ print $3, $4 }' >"$list"
    prefix=${copy#s3://*/}
    tail -n +2 "$list.copy" | awk -F, -v lake="$copy/" -v prefix="$prefix/" -v there="$list" '
        BEGIN { while ((getline line < there) > 0) { split(line, part, " "); size[part[2]] = part[1] } }
        { key = prefix substr($2, length(lake) + 1); if (size[key] != $4) { print $2; bad = 1 } }
        END { exit bad }' || fail "these files of $copy are missing or have another size"
    ;;
*)
    tail -n +2 "$list.copy" | while IFS=, read -r _ path _ bytes _; do
        [ "$(stat -c %s "$path" 2>/dev/null)" = "$bytes" ] || fail "$path is missing or has another size"
    done
    ;;
esac
echo "$(($(wc -l <"$list.copy") - 1)) files of checkpoint $number are in $copy"
