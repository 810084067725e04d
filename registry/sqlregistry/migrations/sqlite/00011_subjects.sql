-- +goose Up
-- Who alone signs in to an account at an issuer; empty: nobody did yet.
ALTER TABLE accounts ADD COLUMN issuer TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN subject TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX accounts_subject ON accounts (issuer, subject) WHERE subject <> '';
