{{/* What workloads are called besides their role: nothing, so that scripts find `controller` and `speaker`. */}}
{{- define "herald.prefix" -}}
{{- with .Values.fullnameOverride }}{{ . }}-{{ end }}
{{- end }}

{{/* The service account of a workload: (list root workload). */}}
{{- define "herald.account" -}}
{{- $root := index . 0 -}}
{{- $workload := index . 1 -}}
{{- (index $root.Values $workload).serviceAccount.name | default $workload }}
{{- end }}

{{/* The image of a workload: its own where the values have one, else the common one. */}}
{{- define "herald.image" -}}
{{- $root := index . 0 -}}
{{- $own := (index $root.Values (index . 1)).image -}}
{{- $repository := $own.repository | default $root.Values.image.repository -}}
{{- if $root.Values.image.digest -}}
{{ $repository }}@{{ $root.Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ $own.tag | default $root.Values.image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The port of the speakers' metrics on their nodes; empty where nobody scrapes. */}}
{{- define "herald.metricsPort" -}}
{{- $wanted := or .Values.prometheus.scrapeAnnotations .Values.prometheus.podMonitor.enabled -}}
{{- .Values.prometheus.metricsPort | default (ternary 9120 "" $wanted) }}
{{- end }}

{{/* The annotations of a workload's Pods: (list root workload). */}}
{{- define "herald.annotations" -}}
{{- $root := index . 0 -}}
{{- $workload := index . 1 -}}
{{- $annotations := deepCopy ((index $root.Values $workload).podAnnotations | default dict) -}}
{{- if $root.Values.prometheus.scrapeAnnotations -}}
{{- $port := ternary "7472" (include "herald.metricsPort" $root) (eq $workload "controller") -}}
{{- $_ := set $annotations "prometheus.io/scrape" "true" -}}
{{- $_ := set $annotations "prometheus.io/port" $port -}}
{{- end -}}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* MetalLB's levels `all` and `none` are words that the daemons do not know. */}}
{{- define "herald.logLevel" -}}
{{- if eq . "all" }}trace{{ else if eq . "none" }}error{{ else }}{{ . }}{{ end }}
{{- end }}
