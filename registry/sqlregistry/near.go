package sqlregistry

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/usage"
)

var _ usage.NearStore = (*Registry)(nil)

// KeepNear keeps lists of members near their limits of applications in the catalog, and removes those of earlier days.
func (r *Registry) KeepNear(ctx context.Context, day quota.Date, lists []usage.NearList) error {
	return r.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM near_members WHERE day < $1", day); err != nil {
			return err
		}
		stays := staying(ctx, tx)
		for _, list := range lists {
			if stays, err := stays(list.Application); err != nil {
				return err
			} else if !stays {
				continue
			}
			members, err := json.Marshal(list.Members)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO near_members (day, application, endpoint, members, member_limit) VALUES ($1, $2, $3, $4, $5) "+
				"ON CONFLICT (day, application, endpoint) DO UPDATE SET members = excluded.members, member_limit = excluded.member_limit",
				day, list.Application, list.Endpoint, string(members), int64(list.Limit)); err != nil {
				return err
			}
		}
		return nil
	})
}

// NearOn returns the lists of a day.
func (r *Registry) NearOn(ctx context.Context, day quota.Date) ([]usage.NearList, error) {
	rows, err := r.reader.QueryContext(ctx, "SELECT application, endpoint, members, member_limit FROM near_members WHERE day = $1 ORDER BY application, endpoint", day)
	if err != nil {
		return nil, r.failure(err)
	}
	defer rows.Close()
	var lists []usage.NearList
	for rows.Next() {
		var list usage.NearList
		var members string
		if err := rows.Scan(&list.Application, &list.Endpoint, &members, &list.Limit); err != nil {
			return nil, r.failure(err)
		}
		if err := decode(members, &list.Members); err != nil {
			return nil, r.failure(err)
		}
		lists = append(lists, list)
	}
	return lists, r.failure(rows.Err())
}
