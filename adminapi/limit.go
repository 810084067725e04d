package adminapi

import (
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perdiem/perdiem/quota"
)

// Limit is a limit in JSON: a whole number, or "unlimited".
type Limit quota.Limit

// MarshalJSON writes the number, or "unlimited" in quotes.
func (l Limit) MarshalJSON() ([]byte, error) {
	text := quota.Limit(l).String()
	if quota.Limit(l) == quota.Unlimited {
		return json.Marshal(text)
	}
	return []byte(text), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (l *Limit) UnmarshalJSON(data []byte) error {
	text := string(data)
	if text == `"unlimited"` {
		text = "unlimited"
	}
	limit, err := quota.ParseLimit(text)
	if err != nil {
		return err
	}
	*l = Limit(limit)
	return nil
}

// Schema implements [huma.SchemaProvider].
func (Limit) Schema(huma.Registry) *huma.Schema {
	low, high := 0.0, float64(quota.MaxLimit)
	return &huma.Schema{OneOf: []*huma.Schema{
		{Type: "integer", Format: "int64", Minimum: &low, Maximum: &high},
		{Type: "string", Enum: []any{"unlimited"}},
	}}
}
