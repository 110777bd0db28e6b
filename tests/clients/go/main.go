// Drivers of franz-go and sarama (see ../README.md): `driver franz-go COMMAND ...` and `driver sarama COMMAND ...`.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// commands is what every driver offers, under the names of ../README.md.
type commands map[string]func(arguments []string) error

type record struct {
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	Timestamp int64             `json:"timestamp,omitempty"`
	Key       string            `json:"key"`
	Value     string            `json:"value"`
	Headers   map[string]string `json:"headers,omitempty"`
}

type sent struct {
	I         int   `json:"i"`
	Partition int32 `json:"partition"`
	Offset    int64 `json:"offset"`
}

type place struct {
	Partition int32 `json:"partition"`
	Offset    int64 `json:"offset"`
}

type committed struct {
	Committed int64 `json:"committed"`
	Partition int32 `json:"partition"`
}

func main() {
	families := map[string]commands{"franz-go": franz, "sarama": saramaCommands}
	if len(os.Args) < 3 || families[os.Args[1]] == nil || families[os.Args[1]][os.Args[2]] == nil {
		fmt.Fprintln(os.Stderr, "usage: driver franz-go|sarama COMMAND ARGUMENT...")
		os.Exit(2)
	}
	if err := families[os.Args[1]][os.Args[2]](os.Args[3:]); err != nil {
		say(map[string]string{"error": err.Error()})
		os.Exit(1)
	}
}

func say(answer any) {
	line, _ := json.Marshal(answer)
	fmt.Println(string(line))
}

// content returns key, value and header of record i.
func content(i int) (key, value, header string) {
	return fmt.Sprintf("key-%d", i%10), fmt.Sprintf("value-%d-%s", i, strings.Repeat("x", 100)), strconv.Itoa(i)
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}

func pairs(settings []string) map[string]*string {
	configs := map[string]*string{}
	for _, setting := range settings {
		key, value, _ := strings.Cut(setting, "=")
		configs[key] = &value
	}
	return configs
}
