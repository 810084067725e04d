package main

import (
	"fmt"
	"net/http"
)

type operatorKeys struct {
	Rotate rotateCommand `cmd:"" help:"Replace the key, print the new one, and end the old one."`
}

type rotateCommand struct {
	connection
}

func (c rotateCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	var answer struct {
		Key string `json:"key"`
	}
	if err := node.call(http.MethodPost, "operator-key/rotate", nil, nil, &answer); err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.stdout, answer.Key)
	return err
}
