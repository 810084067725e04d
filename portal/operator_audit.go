package portal

import (
	"cmp"
	"net/http"
	"net/url"
	"strconv"

	"github.com/perdiem/perdiem/registry"
)

// operatorAuditBody is what the page of the audit is told.
type operatorAuditBody struct {
	operating
	Entries         []auditRow
	Kept            int64  // of operators' entries, at most
	KeptOfDeveloper int64  // of one developer's
	Newest          string // the path of the first page; empty: this is it
	Older           string // the path of the next page; empty: there is none
}

// auditRow is one change.
type auditRow struct {
	registry.AuditEntry
	Who, What string
}

// auditWords are the actions in the audit, as words.
var auditWords = map[string]string{
	registry.ActionApply:         "Catalog applied",
	registry.ActionAdd:           "Application let in",
	registry.ActionPut:           "Set",
	registry.ActionRemove:        "Removed",
	registry.ActionRevert:        "Taken back",
	registry.ActionSetOverride:   "Override set",
	registry.ActionClearOverride: "Override cleared",
	registry.ActionIssueToken:    "Token issued",
	registry.ActionRevokeToken:   "Token revoked",
	registry.ActionSetSetting:    "Setting set",
	registry.ActionRotateKey:     "Operator's key replaced",
	registry.ActionAddAccount:    "Account added",
	registry.ActionSetPassword:   "Password set",
	registry.ActionSetOperator:   "Operator's right",
	registry.ActionLinkAccount:   "Account linked to a sign-in",
	registry.ActionRemoveAccount: "Account removed",
	registry.ActionEndSessions:   "Signed out everywhere",
	registry.ActionGrant:         "Granted",
	registry.ActionWithdraw:      "Grant withdrawn",
	registry.ActionSetAlerts:     "Alerts set",
}

// operatorAudit shows who changed what, the newest first.
func (p *Portal) operatorAudit(v *visit) error {
	before, err := strconv.ParseInt(v.r.URL.Query().Get("before"), 10, 64)
	if err != nil || before < 0 {
		before = 0
	}
	entries, err := p.Operators.Audit(v.r.Context(), before, perPage+1)
	if err != nil {
		return err
	}
	body := operatorAuditBody{operating: v.operating("audit", "Audit log", nil), Kept: registry.MaxAudit, KeptOfDeveloper: registry.MaxAuditOfDeveloper}
	if before > 0 {
		body.Newest = p.operatorPath("audit")
	}
	if len(entries) > perPage {
		entries = entries[:perPage]
		body.Older = p.operatorPath("audit") + "?" + url.Values{"before": {strconv.FormatInt(entries[perPage-1].Seq, 10)}}.Encode()
	}
	for _, e := range entries {
		body.Entries = append(body.Entries, auditRow{e, cmp.Or(e.Actor, "perdiem"), cmp.Or(auditWords[e.Action], e.Action)})
	}
	return v.show(http.StatusOK, "operator-audit", page{Title: "Audit log · operators", Body: body})
}
