#!/bin/sh
# Makes a self-signed certificate for a PostgreSQL server; an existing one is kept.
#
#   certificate.sh KEY_FOLDER PUBLIC_FOLDER NAME [NAME ...]
#
# KEY_FOLDER gets server.key and server.crt, which only the server may read; PUBLIC_FOLDER gets
# server.crt, which clients name with sslmode=verify-full&sslrootcert=.../server.crt. The NAMEs are
# the host names and addresses that clients use in their URLs.
set -eu

keys=$1 public=$2
shift 2

alternatives=
for name in "$@"; do
    case $name in
        *[!0-9.]*) alternatives="$alternatives,DNS:$name" ;;
        *) alternatives="$alternatives,IP:$name" ;;
    esac
done

if [ ! -s "$keys/server.crt" ]; then
    umask 077
    openssl req -new -x509 -days 3650 -nodes \
        -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
        -subj "/CN=$1" -addext "subjectAltName=${alternatives#,}" \
        -keyout "$keys/server.key" -out "$keys/server.crt.new"
    mv "$keys/server.crt.new" "$keys/server.crt"
fi
cp "$keys/server.crt" "$public/server.crt"
chmod 644 "$public/server.crt"

# The official image runs the server as this user, and PostgreSQL refuses a key that others own.
if [ "$(id -u)" -eq 0 ] && id postgres >/dev/null 2>&1; then
    chown postgres "$keys" "$keys/server.key" "$keys/server.crt"
fi
