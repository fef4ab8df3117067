{{- define "nearhit.name" -}}
{{- $name := printf "%s-worker" .Release.Name -}}
{{- trunc 63 $name | trimSuffix "-" -}}
{{- end -}}

{{- define "nearhit.selector" -}}
app.kubernetes.io/name: nearhit-worker
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "nearhit.labels" -}}
{{ include "nearhit.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: nearhit
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- /* A number as it is written: Go shows a million as 1e+06, which no whole number is read from. */ -}}
{{- define "nearhit.value" -}}
{{- if kindIs "string" . }}{{ . | quote }}{{ else }}{{ toJson . | quote }}{{ end -}}
{{- end -}}
