package quota_test

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/quota"
)

func TestDecideVectors(t *testing.T) {
	for _, v := range testkit.Vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			limits := v.Limits
			var application int64
			members := map[string]int64{}
			for i, c := range v.Calls {
				if c.Limits != nil {
					limits = *c.Limits
				}
				d := quota.Decide(
					quota.Charge{Limits: quota.Limits(limits), Cost: c.Cost, HasMember: c.Member != ""},
					quota.Used{Application: application, Member: members[c.Member]})
				if d.Refused != c.Refused {
					t.Fatalf("call %d: refused by %v, want %v", i, d.Refused, c.Refused)
				}
				application = d.Application.Used
				if c.Member != "" {
					members[c.Member] = d.Member.Used
				}
				if application != c.Application || d.Member.Used != c.MemberUsed {
					t.Fatalf("call %d: used %d and %d, want %d and %d", i, application, d.Member.Used, c.Application, c.MemberUsed)
				}
			}
		})
	}
}

// Both or neither: an admitted call raises each counter by its cost and stays within each limit; a refused one changes
// nothing, and names the application's limit whenever that is reached.
func TestDecideCharges(t *testing.T) {
	limit := rapid.OneOf(rapid.Int64Range(0, 20), rapid.Just(int64(quota.Unlimited)), rapid.Just(int64(quota.MaxLimit)))
	rapid.Check(t, func(t *rapid.T) {
		c := quota.Charge{
			Limits:    quota.Limits{Application: quota.Limit(limit.Draw(t, "application")), Member: quota.Limit(limit.Draw(t, "member"))},
			Cost:      rapid.Int64Range(1, 5).Draw(t, "cost"),
			HasMember: rapid.Bool().Draw(t, "has member"),
		}
		u := quota.Used{Application: rapid.Int64Range(0, 25).Draw(t, "used"), Member: rapid.Int64Range(0, 25).Draw(t, "member used")}
		if !c.HasMember {
			u.Member = 0
		}
		d := quota.Decide(c, u)
		overApplication := u.Application+c.Cost > int64(c.Limits.Application)
		overMember := c.HasMember && u.Member+c.Cost > int64(c.Limits.Member)
		switch {
		case overApplication && d.Refused != quota.Application,
			!overApplication && overMember && d.Refused != quota.Member,
			!overApplication && !overMember && d.Refused != quota.None:
			t.Fatalf("%+v at %+v: refused by %v", c, u, d.Refused)
		}
		charged := c.Cost
		if !d.Admitted() {
			charged = 0
		}
		if d.Application.Used != u.Application+charged {
			t.Fatalf("%+v at %+v: application charged to %d", c, u, d.Application.Used)
		}
		if c.HasMember && d.Member.Used != u.Member+charged {
			t.Fatalf("%+v at %+v: member charged to %d", c, u, d.Member.Used)
		}
		if d.Application.Remaining() < 0 || d.Member.Remaining() < 0 {
			t.Fatalf("less than nothing remains: %+v", d)
		}
		if a, ok := d.Violated(); ok == d.Admitted() || ok && d.Refused == quota.Member && a != d.Member {
			t.Fatalf("violated %+v %v for %+v", a, ok, d)
		}
	})
}

func TestParseLimit(t *testing.T) {
	for s, want := range map[string]quota.Limit{
		"0": 0, "1": 1, "150": 150, "999999999999999": quota.MaxLimit, "unlimited": quota.Unlimited,
	} {
		got, err := quota.ParseLimit(s)
		if err != nil || got != want || got.String() != s {
			t.Errorf("ParseLimit(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "-1", "+1", "1.5", "1e3", "0x10", "1_000", " 1", "1 ", "1000000000000000", "9223372036854775808", "Unlimited", "none"} {
		if got, err := quota.ParseLimit(s); err == nil {
			t.Errorf("ParseLimit(%q) = %v: want an error", s, got)
		}
	}
}

func TestLimitJSON(t *testing.T) {
	got, err := json.Marshal([]quota.Limit{0, 500, quota.MaxLimit, quota.Unlimited})
	if err != nil || string(got) != "[0,500,999999999999999,null]" {
		t.Errorf("got %s, %v", got, err)
	}
}
