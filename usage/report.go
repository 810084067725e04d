package usage

import (
	"encoding/json"
	"time"
)

// Report is the usage of one application today, in the form of the contract's section 5. It marshals to that JSON and back.
type Report struct {
	Application    string     `json:"application"`
	Day            string     `json:"day"`            // the date that names it, as 2006-01-02
	ResetsAt       time.Time  `json:"resetsAt"`       // in UTC
	SecondsToReset int64      `json:"secondsToReset"` // rounded up
	Endpoints      []Endpoint `json:"endpoints"`      // those called at least once today, in order of id; never nil
}

// Endpoint is the usage of one endpoint.
type Endpoint struct {
	ID          string           `json:"id"`
	Match       string           `json:"match"`    // "POST /rest/posts"; "*" for the catch-all
	LastCall    time.Time        `json:"lastCall"` // in UTC, to the second
	Application ApplicationUsage `json:"application"`
	Member      MemberUsage      `json:"member"`
}

// ApplicationUsage is what all calls of the application come to, in calls.
type ApplicationUsage struct {
	Limit            *int64 `json:"limit"` // nil, which is null: unlimited
	Used             int64  `json:"used"`
	Remaining        *int64 `json:"remaining"` // nil, which is null: unlimited
	Refused          int64  `json:"refused"`   // for either limit
	RefusedForMember int64  `json:"refusedForMember"`
}

// MemberUsage is what one member's calls come to, in calls. Without an ID it is nobody's and holds only the limit, which is
// the same for each member.
type MemberUsage struct {
	ID        string
	Limit     *int64 // nil: unlimited
	Used      int64
	Remaining *int64 // nil: unlimited, or nobody's
	Refused   int64  // for the member's own limit
}

// member and nobody are the two forms of a MemberUsage in JSON.
type (
	member struct {
		ID        string `json:"id"`
		Limit     *int64 `json:"limit"`
		Used      int64  `json:"used"`
		Remaining *int64 `json:"remaining"`
		Refused   int64  `json:"refused"`
	}
	nobody struct {
		Limit *int64 `json:"limit"`
	}
)

// MarshalJSON writes only the limit where the usage is nobody's.
func (m MemberUsage) MarshalJSON() ([]byte, error) {
	if m.ID == "" {
		return json.Marshal(nobody{m.Limit})
	}
	return json.Marshal(member(m))
}

// UnmarshalJSON reads either form.
func (m *MemberUsage) UnmarshalJSON(data []byte) error {
	var read member
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	*m = MemberUsage(read)
	return nil
}
