#!/bin/sh
# Postgres in PGDATA, made with the first start. POSTGRES_PASSWORD is that of the only user, ai_teacher.
set -eu
bin=/postgres/bin
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # A start that was cut short leaves half a folder, which initdb would refuse.
  rm -rf "$PGDATA"
  printf %s "$POSTGRES_PASSWORD" > /tmp/password
  "$bin/initdb" --pgdata "$PGDATA" --username ai_teacher --pwfile /tmp/password --auth scram-sha-256 --encoding UTF8 --locale C.UTF-8
  # Who reaches this at all is up to the network policies.
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
  rm /tmp/password
fi
# SIGINT is its fast shutdown; Kubernetes sends SIGTERM, which would wait for every client to go.
"$bin/postgres" -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp &
trap 'kill -INT $!' TERM INT
wait $! || wait $!
