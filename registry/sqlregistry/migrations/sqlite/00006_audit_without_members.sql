-- +goose Up
-- The audit names no members: entries of issued tokens did. What else they said stays, as far as the token is there to tell.
UPDATE audit SET became = COALESCE((
    SELECT 'application ' || t.application || CASE t.member WHEN '' THEN '' ELSE ' for a member' END
        || CASE WHEN t.expires IS NULL THEN '' ELSE strftime(' expires %Y-%m-%dT%H:%M:%SZ', t.expires / 1000, 'unixepoch') END
    FROM tokens t WHERE t.id = substr(audit.subject, length('token ') + 1)), '') -- by its index, since there may be many of both
WHERE action = 'token.issue' AND became LIKE '% member %';
