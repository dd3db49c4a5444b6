#!/bin/bash
# Runs once, when the database folder is made: a role and a database for the ledger and for the registry.
# Neither role may do more than own its database; the superuser serves backup and upkeep.
set -euo pipefail

secrets=${SECRETS:-/run/secrets}

make() { # name
    local password
    password=$(<"$secrets/$1_password")
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set "name=$1" --set "password=$password" \
        --username "$POSTGRES_USER" --dbname postgres <<'SQL'
CREATE ROLE :"name" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}

make ledger
make registry
