package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/usage"
)

// startWarning starts a node in a folder of its own that tells a webhook on this machine of its application's limits.
func startWarning(t *testing.T, webhook string) (folder string, n *node) {
	t.Helper()
	folder = t.TempDir()
	writeFile(t, folder, "perdiem.yaml", quietNode+"alerts: {webhooks_may_reach: [127.0.0.1]}\n")
	writeFile(t, folder, "catalog.yaml", "catch_all: {application: 100, member: 20}\napplications: [{id: acme}]\n")
	n, err := startHere(t, folder)
	if err != nil {
		t.Fatal(err)
	}
	settings := usage.AlertSettings{WebhookURL: webhook, WebhookSecret: "whsec_" + strings.Repeat("c2Vj", 8)}
	set := func(usage.AlertSettings) (usage.AlertSettings, error) { return settings, nil }
	if _, err := n.registry.EditAlertSettings(t.Context(), "acme", set, "ann"); err != nil {
		t.Fatal(err)
	}
	return folder, n
}

// TestUndeliveredAlertsSurviveARestart has a webhook fail, and take the message from the next node, once.
func TestUndeliveredAlertsSurviveARestart(t *testing.T) {
	var takes atomic.Bool
	heard := make(chan string, 10) // ids of messages
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !takes.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
		heard <- r.Header.Get("Webhook-Id")
	}))
	defer hook.Close()
	hear := func() string {
		t.Helper()
		select {
		case id := <-heard:
			return id
		case <-time.After(20 * time.Second):
			t.Fatal("the webhook hears nothing")
			return ""
		}
	}
	folder, n := startWarning(t, hook.URL)
	if sent, err := n.records.alerts.Test(t.Context(), "acme"); sent != 1 || err != nil {
		t.Fatalf("%d messages are on their way, %v", sent, err)
	}
	first := hear()
	if err := n.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for len(heard) > 0 {
		<-heard
	}
	takes.Store(true)
	n, err := startHere(t, folder)
	if err != nil {
		t.Fatal(err)
	}
	if again := hear(); again != first {
		t.Errorf("the next node sends message %s, want %s", again, first)
	}
	if err := n.stop(t.Context()); err != nil { // by then the store knows that it was taken
		t.Fatal(err)
	}
	n, err = startHere(t, folder)
	if err != nil {
		t.Fatal(err)
	}
	due, err := n.registry.DueAlerts(t.Context(), usage.WebhookWay, time.Now().Add(24*time.Hour), 10)
	if err != nil || len(due) > 0 {
		t.Errorf("after it was taken there are messages still: %+v, %v", due, err)
	}
	if err := n.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(heard) > 0 {
		t.Errorf("the webhook heard %s, too", <-heard)
	}
}

// TestAlertsReachAWebhook has calls come to limits, and a webhook that is told of it, once, though the node starts again.
func TestAlertsReachAWebhook(t *testing.T) {
	told := make(chan usage.Alert, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var alert usage.Alert
		if err := json.NewDecoder(r.Body).Decode(&alert); err != nil {
			t.Error(err)
		}
		told <- alert
	}))
	defer hook.Close()
	folder, n := startWarning(t, hook.URL)
	call := func(member string, cost int64) {
		t.Helper()
		c := lease.Call{Application: "acme", Endpoint: "*", Member: member, Limits: quota.Limits{Application: 100, Member: 20}, Cost: cost}
		if d, err := n.book.Take(t.Context(), c); err != nil || !d.Admitted() {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	hear := func(want ...usage.AlertLimit) {
		t.Helper()
		select {
		case alert := <-told:
			if diff := cmp.Diff(want, alert.Data.Limits); diff != "" || alert.Data.Application != "acme" {
				t.Errorf("told of %+v (-want +got):\n%s", alert, diff)
			}
		case <-time.After(5 * time.Second):
			t.Error("told of nothing within 5 s")
		}
	}
	call("m-1", 15)
	hear(usage.AlertLimit{Kind: "member", Endpoint: "*", Threshold: 75, Members: []usage.NearMember{{ID: "m-1", Percent: 75}}})
	call("", 60)
	hear(usage.AlertLimit{Kind: "application", Endpoint: "*", Threshold: 75, Limit: 100, Used: 75})
	call("m-1", 5) // at 80 %, and m-1 at its limit: told of with the next summary, or by the next node
	if err := n.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, err := startHere(t, folder)
	if err != nil {
		t.Fatal(err)
	}
	hear(usage.AlertLimit{Kind: "member", Endpoint: "*", Threshold: 100, Members: []usage.NearMember{{ID: "m-1", Percent: 100}}})
	near, err := n.usage.MembersNear(t.Context(), "acme", "*")
	if err != nil || len(near) != 1 || near[0].ID != "m-1" || near[0].Used != 20 {
		t.Errorf("after a restart near: %+v, %v", near, err)
	}
	call("", 15)
	hear(usage.AlertLimit{Kind: "application", Endpoint: "*", Threshold: 90, Limit: 100, Used: 95})
	if err := n.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for len(told) > 0 {
		t.Errorf("told of %+v, too", <-told)
	}
}
