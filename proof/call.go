package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// call is one call, as the client that made it saw it.
type call struct {
	id          uint64 // unlike every other call's
	application string
	member      string    // empty: the application acts for itself
	run         int       // of the node that it was sent to
	due         time.Time // when its client's waiting began; see load.run
	sent        time.Time
	ended       time.Time // answered, or given up because the connection broke
	answer      answer
}

// answer is what a node says to a call. A zero status means that the call was sent and never answered.
type answer struct {
	status    int
	refusedBy string    // application or member, when a limit refused it
	resetsIn  int64     // seconds, from the RateLimit header; -1 when there is none
	resetsAt  time.Time // from a refusal's body
	left      allowance
}

// allowance is what the RateLimit header says is left, in calls; -1 where it says nothing.
type allowance struct{ application, member int64 }

func (c *call) admitted() bool { return c.answer.status == http.StatusOK }
func (c *call) refused() bool  { return c.answer.status == http.StatusTooManyRequests }
func (c *call) lost() bool     { return c.answer.status == 0 }

// leftForRefusal returns how many calls a refusal says were left of the limit that refused it; -1 when no limit refused the call.
func (c *call) leftForRefusal() int64 {
	switch c.answer.refusedBy {
	case "application":
		return c.answer.left.application
	case "member":
		return c.answer.left.member
	default:
		return -1
	}
}

// readAnswer reads an answer of the gateway. The error says what the contract does not allow in it.
func readAnswer(response *http.Response, body []byte) (answer, error) {
	a := answer{status: response.StatusCode, resetsIn: -1, left: allowance{-1, -1}}
	if err := a.readLimits(response.Header.Get("RateLimit")); err != nil {
		return a, err
	}
	if a.status != http.StatusTooManyRequests {
		return a, nil
	}
	var problem struct {
		Violated []string  `json:"violated-policies"`
		ResetsAt time.Time `json:"resetsAt"`
	}
	if err := json.Unmarshal(body, &problem); err != nil {
		return a, fmt.Errorf("a refusal's body: %w: %s", err, body)
	}
	if len(problem.Violated) != 1 || problem.ResetsAt.IsZero() {
		return a, fmt.Errorf("a refusal names no limit or no reset: %s", body)
	}
	a.refusedBy, a.resetsAt = problem.Violated[0], problem.ResetsAt
	return a, nil
}

// readLimits reads a RateLimit header, as in: "application";r=488;t=21600, "member";r=47;t=21600.
func (a *answer) readLimits(header string) error {
	if header == "" {
		return nil
	}
	for item := range strings.SplitSeq(header, ", ") {
		parts := strings.Split(item, ";")
		if len(parts) != 3 {
			return fmt.Errorf("the header RateLimit: %s", header)
		}
		r, errR := parameter(parts[1], "r=")
		t, errT := parameter(parts[2], "t=")
		if err := errors.Join(errR, errT); err != nil {
			return fmt.Errorf("the header RateLimit: %s: %w", header, err)
		}
		switch parts[0] {
		case `"application"`:
			a.left.application = r
		case `"member"`:
			a.left.member = r
		default:
			return fmt.Errorf("the header RateLimit: %s", header)
		}
		a.resetsIn = t
	}
	return nil
}

func parameter(text, name string) (int64, error) {
	value, ok := strings.CutPrefix(text, name)
	if !ok {
		return 0, fmt.Errorf("%s is missing", name)
	}
	return strconv.ParseInt(value, 10, 64)
}

// statuses counts calls by the status of their answers; 0: never answered.
func statuses(calls []call) map[int]int {
	n := map[int]int{}
	for i := range calls {
		n[calls[i].answer.status]++
	}
	return n
}

// unexpected returns a sentence about calls with another answer than 200, 429 or none; empty when there are none.
func unexpected(calls []call) string {
	for status, n := range statuses(calls) {
		if status != http.StatusOK && status != http.StatusTooManyRequests && status != 0 {
			return fmt.Sprintf("%d calls were answered %d", n, status)
		}
	}
	return ""
}
