package portal

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"time"

	"github.com/perdiem/perdiem/usage"
)

// usageCSV downloads what the Analytics tab shows, a line an endpoint, with the columns of perdiem usage.
func (p *Portal) usageCSV(v *visit) error {
	report, err := p.usageReport(v)
	if err != nil {
		return err
	}
	lines := [][]string{{"endpoint", "match", "used", "limit", "remaining", "refused", "refused_for_member", "member_limit", "last_call"}}
	for _, e := range report.Endpoints {
		a := e.Application
		lines = append(lines, []string{
			e.ID, e.Match, text(&a.Used), text(a.Limit), text(a.Remaining), text(&a.Refused), text(&a.RefusedForMember), text(e.Member.Limit),
			e.LastCall.UTC().Format(time.RFC3339),
		})
	}
	var b bytes.Buffer
	if err := csv.NewWriter(&b).WriteAll(lines); err != nil {
		return err
	}
	v.download("text/csv; charset=utf-8", report, "csv", b.Bytes())
	return nil
}

// usageJSON downloads what the Analytics tab shows, in the form of GET /v1/usage.
func (p *Portal) usageJSON(v *visit) error {
	report, err := p.usageReport(v)
	if err != nil {
		return err
	}
	body, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	v.download("application/json", report, "json", append(body, '\n'))
	return nil
}

// download answers with a file. Its name says nothing that somebody could have put into an id.
func (v *visit) download(kind string, r *usage.Report, extension string, body []byte) {
	h := v.w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", `attachment; filename="usage-`+r.Day+`.`+extension+`"`)
	v.send(http.StatusOK, body)
}
